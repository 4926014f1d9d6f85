//! Integration tests of the saga service, on a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod journal_append;
mod journal_fence;
mod journal_lost;
mod journal_reader;
mod journal_size;
mod journal_support;
mod journal_takeover;
mod journal_views;
