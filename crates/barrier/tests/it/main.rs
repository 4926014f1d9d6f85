//! The barrier against a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod actions;
mod batches;
mod compensations;
mod concurrency;
mod external;
mod pending;
mod statements;
mod support;
