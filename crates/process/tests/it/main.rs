//! Runs against a real Postgres and real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod admin;
mod database;
mod grpc;
mod mutual_tls;
mod signals;
