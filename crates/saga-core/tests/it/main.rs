//! The rules of a saga, as scenarios.

mod attention;
mod commit_point;
mod dsl;
mod outcomes;
