//! The billing service with real Postgres, real doubles of both providers, and a stand-in for the orchestrator.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod fake_sagas;
mod orders;
mod schema;
mod scripts;
mod world;
