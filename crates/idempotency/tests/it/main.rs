//! Runs a real Postgres and a real Redis; every promise is checked on both stores.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod answers;
mod grpc;
mod leases;
mod metrics;
mod outages;
mod refusals;
mod repetitions;
mod world;
