//! The rules of a saga, as scenarios and as properties.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod attention;
mod clocks;
mod commit_point;
mod completions;
mod dsl;
mod epilogue;
mod exhaustive;
mod graphs;
mod late;
mod operators;
mod outcomes;
mod pauses;
mod plans;
mod probes;
mod random;
mod recovery;
mod retries;
mod skips;
mod stale;
mod tcc;
mod unwinding;
