//! The gateway on a loopback port, in front of services that are fakes, on a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod bounds;
mod browsers;
mod failures;
mod forwarding;
mod keys;
mod raw;
mod support;
mod upstream;
