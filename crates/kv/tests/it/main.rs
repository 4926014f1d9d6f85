//! Runs a real Postgres and a real Redis; every promise is checked on both stores.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod counters;
mod outages;
mod rotations;
mod values;
mod versions;
mod world;
