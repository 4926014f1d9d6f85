//! The quota service over gRPC, on a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod concurrency;
mod conservation;
mod grants;
mod input;
mod ledger;
mod oversell;
mod reservations;
mod schema;
mod steps;
mod support;
