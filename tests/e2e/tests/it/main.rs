//! The whole product, as processes, through its API.
//!
//! The binary under test is built by the tests themselves (or named by `EVENKEEL_BIN`).

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod asynchronous;
mod bad_input;
mod devices;
mod events;
mod examples;
mod gateway;
mod mending;
mod metrics;
mod money;
mod newcomer;
mod secrets;
mod stories;
mod traces;
mod zombie;
