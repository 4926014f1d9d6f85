//! The task service against a real Postgres, a real HTTP provider double and real gRPC.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod api;
mod crashes;
mod fake_sagas;
mod pipelines;
mod shipped;
mod steps;
mod watch;
mod watch_load;
mod world;
