//! All SQL of the service. One function is one statement.
//!
//! Lock order: barrier rows, `pipeline_runs`, `pipeline_steps` and `pipeline_attempts`, `tasks`, `feed_head`,
//! `notification`.

pub(crate) mod feed;
pub(crate) mod notifications;
pub(crate) mod runs;
pub(crate) mod tasks;
