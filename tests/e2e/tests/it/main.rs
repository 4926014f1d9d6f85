//! The whole product, as processes, through its API.
//!
//! The binary under test is built by the tests themselves (or named by `EVENKEEL_BIN`).

mod bad_input;
mod kills;
mod mending;
mod platform;
mod stories;
mod zombie;
