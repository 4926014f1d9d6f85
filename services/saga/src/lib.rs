//! Saga service: the orchestrator's journal, owners, participants and API.
//!
//! [`spawn`] runs one instance on a thread of its own: the engine, the journal's connections, the API and the channels to
//! the participants share one single-threaded runtime, because a hop between threads costs more than the work of a step.
//!
//! * [`journal`]: durable storage, fenced, with group commit.
//! * [`participants`]: how steps are called.
//! * [`definitions`]: what is registered and active.
//! * [`tokens`]: what a participant shows when it answers later than it was called.
//! * `app`: the operations of the API, one file each; `grpc` decodes and encodes.
//!
//! What it is not: a place where sagas are decided on (`saga-core`) or scheduled (`saga-engine`), or where definitions are
//! read and checked (`saga-definition`).
//!
//! # Invariants
//! * The port is bound before the journal is opened, so a second process with the same default name cannot fence the first.
//! * An instance that was fenced answers nobody any more: [`Running::join`] returns [`Error::Fenced`] and the process ends.
//! * A saga keeps the revision of its definition, whatever is registered later.

mod app;
mod config;
pub mod definitions;
mod grpc;
pub mod journal;
pub mod participants;
mod run;
pub mod tokens;

pub use config::Config;
pub use run::{Deps, Error, Events, Running, spawn};

/// Its schema in the database.
pub const SCHEMA: &str = "saga";
/// Its migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/saga");
/// `ErrorInfo.domain` of its answers.
pub const DOMAIN: &str = "saga.evenkeel";
