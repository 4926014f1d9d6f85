//! Logs and traces: the only crate that names opentelemetry.
//!
//! What it is not: a place where services decide what to log. They use the macros of `tracing`; this crate decides where
//! the lines go, in what form, and which trace they belong to.
//!
//! Invariants:
//! - Logs go to stderr; stdout belongs to the output of commands.
//! - The registry always has an `EnvFilter`: without one, every span of every dependency is recorded, which halves
//!   throughput.
//! - A W3C `traceparent` is passed on whether or not an exporter is configured. Without one the incoming value goes on
//!   verbatim (in a task-local, see [`trace::scope`]); with one the current span takes its place.

mod json;
mod otlp;
mod setup;
pub mod trace;

pub use setup::{Config, Error, Format, Guard, init};
