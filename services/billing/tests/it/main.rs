//! The billing service with real Postgres, real doubles of both providers, and a stand-in for the orchestrator.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod bookkeeper;
mod buyer;
mod desk;
mod earner;
mod fake_sagas;
mod faults;
mod flood;
mod late;
mod notify;
mod orders;
mod payment_ends;
mod payment_steps;
mod payment_tables;
mod payments;
mod refunds;
mod schema;
mod scripts;
mod statement_days;
mod statements;
mod withdrawal_faults;
mod withdrawal_input;
mod withdrawal_notifies;
mod withdrawal_payees;
mod withdrawal_steps;
mod withdrawals;
mod world;
