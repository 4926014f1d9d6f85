//! The quota service over gRPC, on a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod burn_order;
mod clawback;
mod concurrency;
mod conservation;
mod expiry;
mod grants;
mod input;
mod ledger;
mod migration;
mod order_steps;
mod oversell;
mod reservations;
mod schema;
mod steps;
mod support;
