//! The saga service against real parts: a Postgres of its own, and participants that answer over gRPC what a test tells
//! them to.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on ends with a panic that names the place"
)]

mod asynchronous;
mod bad_input;
mod calls;
mod completions;
mod definitions;
mod hints;
mod journal_append;
mod journal_fence;
mod journal_lost;
mod journal_notes;
mod journal_operators;
mod journal_reader;
mod journal_size;
mod journal_support;
mod journal_takeover;
mod journal_views;
mod journal_walks;
mod operators;
mod operators_aside;
mod operators_bad_input;
mod operators_support;
mod participant;
mod publishing;
mod replicas;
mod revisions;
mod sagas;
mod service;
mod tcc;
