//! Task service: users' tasks, each one run of a feature's pipeline, paid for with quota.
//!
//! The public service ([`grpc`](self)) creates tasks through the saga `TASK_RUN` and shows them; streams (`watch`) tell users
//! live what becomes of them, and what they are notified of; the steps service is called by the orchestrator only; a
//! background job carries out [pipelines](pipeline).
//!
//! What it is not: the keeper of quota, or of the order of steps. It never calls the quota service: the saga does.
//!
//! Invariants:
//! * A task row exists only if its saga has reserved quota for it.
//! * `failed` and `cancelled` are set by the saga's last call only, after the quota is back. Until then a task that will
//!   not complete is `failing`.
//! * A state changes along [`domain`]'s table, under the row's lock; constraints of the table refuse impossible rows.
//! * Every change of a task writes its fact to `outbox`, and its event to its user's feed, in the same transaction.
//! * Nothing is held while waiting for the orchestrator: no connection, no transaction.

mod app;
pub mod config;
pub mod domain;
mod encode;
mod events;
mod feed;
mod grpc;
mod jobs;
mod json;
pub mod pipeline;
mod steps;
mod store;
mod watch;

use std::sync::Arc;

use ::events::Broker;
use process::PoolGauge;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::task::v1::task_service_server::{SERVICE_NAME as PUBLIC, TaskServiceServer};
use proto::task::v1::task_steps_server::{SERVICE_NAME as STEPS, TaskStepsServer};
use proto::task::v1::watch_service_server::{SERVICE_NAME as WATCH, WatchServiceServer};
use token::{Channel, Guard};
use tokio::sync::Notify;
use tonic::service::Routes;

pub use crate::events::FACTS;
pub use config::{Config, DEMO_PROVIDER, Error};
pub use jobs::Job;

/// Schema of the service.
pub const SCHEMA: &str = "task";
/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/task");
/// Domain of the service's reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "task.evenkeel";
/// Saga definitions that belong to the service: file name and YAML.
pub const SAGAS: &[(&str, &str)] = &[("TASK_RUN.yaml", include_str!("../sagas/TASK_RUN.yaml"))];

/// Largest request message, in bytes: an input or a result of 64 KiB with room to spare.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What the service needs.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Pool of the public service, on the schema [`SCHEMA`].
    pub pool: PoolGauge,
    /// Pool of the steps and of the pipeline worker, on the same schema.
    pub steps_pool: PoolGauge,
    /// The orchestrator.
    pub sagas: SagaServiceClient<Channel>,
    /// Where notifications come from.
    pub broker: Broker,
    /// Who may call.
    pub guard: Guard,
}

/// The service, ready to be served.
#[derive(Debug)]
pub struct Service {
    /// TaskService and WatchService, for everybody.
    pub public: Routes,
    /// TaskSteps, for the orchestrator only.
    pub steps: Routes,
    /// Background work.
    pub jobs: Vec<Job>,
}

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] Error),
    /// A method of the contract does not say who may call it.
    #[error(transparent)]
    Access(#[from] token::AccessError),
}

/// Wires the service. Keys of providers are read from the environment here.
///
/// # Errors
/// The configuration cannot be used, every mistake is named; or a method of the contract does not say who may call it.
pub fn build(config: Config, deps: Deps) -> Result<Service, BuildError> {
    let providers = config.check(|variable| std::env::var(variable).ok())?;
    let (guard_public, guard_steps) = (deps.guard.layer(&[PUBLIC, WATCH])?, deps.guard.layer(&[STEPS])?);
    let config = Arc::new(config);
    let app = app::App {
        feeds: feed::Feeds::new(deps.pool.clone(), Arc::clone(&config)),
        pool: deps.pool,
        steps_pool: deps.steps_pool,
        sagas: deps.sagas,
        config,
        due: Arc::new(Notify::new()),
    };
    let public = TaskServiceServer::new(grpc::Public { app: app.clone() });
    let watch = WatchServiceServer::new(watch::Watch { app: app.clone() });
    let steps = TaskStepsServer::new(steps::Steps { app: app.clone() });
    Ok(Service {
        public: guard_public.guard(
            Routes::new(public.max_decoding_message_size(MAX_MESSAGE_BYTES))
                .add_service(watch.max_decoding_message_size(MAX_MESSAGE_BYTES)),
        ),
        steps: guard_steps.guard(Routes::new(steps.max_decoding_message_size(MAX_MESSAGE_BYTES))),
        jobs: vec![
            jobs::pipelines(&app, providers),
            jobs::feeds(&app),
            jobs::tidy(&app),
            jobs::notifications(&app, &deps.broker),
        ],
    })
}
