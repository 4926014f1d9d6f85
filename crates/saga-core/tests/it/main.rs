//! The rules of a saga, as scenarios and as properties.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod attention;
mod clocks;
mod commit_point;
mod dsl;
mod epilogue;
mod exhaustive;
mod graphs;
mod outcomes;
mod plans;
mod random;
mod recovery;
mod retries;
mod stale;
mod unwinding;
