//! All SQL of the service. One function is one statement.
//!
//! Lock order: barrier rows, `pipeline_runs`, `pipeline_steps` and `pipeline_attempts`, `tasks`.

pub(crate) mod runs;
pub(crate) mod tasks;
