//! The rules of a saga, as scenarios and as properties.

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
