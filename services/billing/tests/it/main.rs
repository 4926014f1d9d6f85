//! The billing service with real Postgres, real doubles of both providers, and a stand-in for the orchestrator.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod buyer;
mod fake_sagas;
mod faults;
mod flood;
mod late;
mod notify;
mod payment_ends;
mod payment_steps;
mod payment_tables;
mod payments;
mod schema;
mod scripts;
mod world;
