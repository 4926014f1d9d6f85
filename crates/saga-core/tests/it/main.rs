//! The rules of a saga, as scenarios and as properties.

mod attention;
mod clocks;
mod commit_point;
mod dsl;
mod epilogue;
mod graphs;
mod outcomes;
mod plans;
mod recovery;
mod retries;
mod stale;
mod unwinding;
