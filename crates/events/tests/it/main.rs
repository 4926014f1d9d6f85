//! Runs a real Postgres and a real RabbitMQ; every promise is checked on both brokers.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod consuming;
mod dead_letters;
mod outages;
mod publishing;
mod tracing;
mod world;
