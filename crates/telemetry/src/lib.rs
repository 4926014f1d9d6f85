//! Logs, traces and metrics: the only crate that names opentelemetry and the exporter of metrics.
//!
//! What it is not: a place where services decide what to log or to count. They use the macros of `tracing` and `metrics`;
//! this crate decides where the lines go, in what form, which trace they belong to, and how the numbers are shown.
//!
//! Invariants:
//! - Logs go to stderr; stdout belongs to the output of commands.
//! - The registry always has an `EnvFilter`: without one, every span of every dependency is recorded, which halves
//!   throughput.
//! - A W3C `traceparent` is passed on whether or not an exporter is configured. Without one the incoming value goes on
//!   verbatim (in a task-local, see [`trace::scope`]); with one the current span takes its place.

#[cfg(feature = "collector")]
pub mod collector;
mod json;
pub mod metrics;
mod otlp;
mod process_stats;
mod setup;
pub mod trace;

pub use setup::{Config, Error, Format, Guard, init};
