//! Logs, traces and metrics: the only crate that names opentelemetry.
