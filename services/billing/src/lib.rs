//! Billing service: plans, orders, payments, refunds, memberships, commissions and their withdrawal.
//!
//! A user buys a plan by an order, pays it through a payment at a provider (a *channel*), and is granted what the plan
//! promises. The sagas PAYMENT_PURCHASE, PAYMENT, PAYMENT_REFUND and WITHDRAWAL (`sagas/`) say in which order; this service
//! answers their steps, talks to the providers, takes their notifications, and asks them where nothing was heard.
//!
//! | folder | what |
//! |---|---|
//! | `domain` | pure: statuses and their changes, and what a provider's answer means for an order |
//! | `app` | one operation, one transaction |
//! | `store` | all SQL |
//! | `grpc`, `steps` | decode, operate, encode: for everybody, and for the orchestrator |
//! | `jobs` | background work: asking providers, applying notifications, expiry, sagas that are due |
//!
//! # Invariants
//! * A provider is never called inside a transaction. The number under which it knows an operation is committed before the
//!   first call and never changes, so a repetition has no second effect.
//! * What a provider says of a payment is applied by one function under the lock of its order, whoever brings it: a
//!   notification, a query, a close.
//! * An outcome that is not known is asked for until it is; past `case_after` a person is told (table `cases`). It is
//!   never guessed.
//! * A row of `provider_checks` is there as long as the outcome of a payment, refund or withdrawal is open.
//! * A payment that its channel could not close, since nobody had scanned it, is CLOSED here and asked for until its time is
//!   over: if it is paid all the same, it counts or goes back like any other.
//! * Locks are taken in this order: barrier rows, the order, its payments, its refunds, everything else; of a withdrawal
//!   the commission account, then the withdrawal.
//! * Statuses change along the tables of [`domain`], which triggers repeat in the database. Never more goes back than was
//!   paid: a CHECK refuses it.
//! * An order is paid once. Every further payment, and every payment after the order's end, is *late* and goes back.
//!
//! # What it is not
//! A ledger of quota, which the quota service keeps; or a place where card data comes.

mod app;
mod config;
mod domain;
mod drift;
mod error;
mod events;
mod grpc;
mod jobs;
mod steps;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use kms::Kms;
use kms::rewrap::Column;
use process::PoolGauge;
use proto::billing::v1 as pb;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use token::{AccessError, Channel, Guard};
use tokio::sync::{Notify, Semaphore};
use tonic::service::Routes;

pub use crate::events::FACTS;
pub use config::{Config, Error as ConfigError};
pub use drift::{Drift, drift};
pub use jobs::Job;

/// Name of the service's schema, which the pools' `search_path` must name.
pub const SCHEMA: &str = "billing";

/// The service's migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/billing");

/// `ErrorInfo.domain` of the service's errors.
pub const DOMAIN: &str = "billing.evenkeel";

/// Saga definitions that belong to the service: file name and YAML.
pub const SAGAS: &[(&str, &str)] = &[
    ("PAYMENT.yaml", include_str!("../sagas/PAYMENT.yaml")),
    (
        "PAYMENT_PURCHASE.yaml",
        include_str!("../sagas/PAYMENT_PURCHASE.yaml"),
    ),
    (
        "PAYMENT_REFUND.yaml",
        include_str!("../sagas/PAYMENT_REFUND.yaml"),
    ),
    ("WITHDRAWAL.yaml", include_str!("../sagas/WITHDRAWAL.yaml")),
];

/// The columns with sealed fields.
pub const SEALED: &[Column] = &[store::payees::SEALED];

/// The services that everybody may call, as the access option of each method says.
const PUBLIC: [&str; 6] = [
    pb::plan_service_server::SERVICE_NAME,
    pb::order_service_server::SERVICE_NAME,
    pb::payment_service_server::SERVICE_NAME,
    pb::notify_service_server::SERVICE_NAME,
    pb::withdrawal_service_server::SERVICE_NAME,
    pb::desk_service_server::SERVICE_NAME,
];

/// What the service needs.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Connections for the public services.
    pub pool: PoolGauge,
    /// Connections for the steps and the jobs, so that neither side can starve the other.
    pub steps_pool: PoolGauge,
    /// The orchestrator.
    pub sagas: SagaServiceClient<Channel>,
    /// The same, for hints about steps that are pending.
    pub completions: CompletionServiceClient<Channel>,
    /// The payment providers at hand. A channel without one is refused.
    pub providers: Vec<Arc<dyn pay::Provider>>,
    /// Who may call.
    pub guard: Guard,
    /// Seals recipients, and opens them.
    pub kms: Kms,
}

/// The service, ready to be served.
#[derive(Debug)]
pub struct Service {
    /// For the public listener.
    pub public: Routes,
    /// For the steps listener.
    pub steps: Routes,
    /// Background work.
    pub jobs: Vec<Job>,
}

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A provider's name is no channel.
    #[error("there is no channel {0:?}")]
    Channel(&'static str),
    /// A method of the contract does not say who may call it.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Wires the service. Connects to nothing.
///
/// # Errors
/// The configuration cannot be used, a provider is of no known channel, or a method of the contract does not say who may
/// call it.
pub fn build(config: Config, deps: Deps) -> Result<Service, BuildError> {
    config.check()?;
    let mut channels = BTreeMap::new();
    for provider in deps.providers {
        let name = provider.name();
        let channel = domain::Channel::from_name(name).ok_or(BuildError::Channel(name))?;
        channels.insert(channel, provider);
    }
    let (hints, changed) = app::Hints::new();
    let app = app::App {
        pool: deps.pool,
        steps_pool: deps.steps_pool,
        room_for_steps: Arc::new(Semaphore::new(config.steps_at_once.into())),
        sagas: deps.sagas,
        completions: deps.completions,
        channels: Arc::new(channels),
        config: Arc::new(config),
        due: Arc::new(Notify::new()),
        inbox: Arc::new(Notify::new()),
        hints,
        kms: deps.kms,
    };
    Ok(Service {
        public: deps.guard.layer(&PUBLIC)?.guard(grpc::routes(&app)),
        steps: deps
            .guard
            .layer(&[pb::billing_steps_server::SERVICE_NAME])?
            .guard(steps::routes(&app)),
        jobs: jobs::all(&app, changed),
    })
}
