//! The parts of the auth service that keep something, on a real Postgres and a real Redis.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod codes;
mod invites;
mod limiting;
mod parts;
mod senders;
