//! Quota service: what users may consume.
//!
//! Users get quota by grants, each with a kind, a priority, an expiry and a source. A task sets an amount aside (reserves),
//! then turns it into consumption (confirms) or gives it back (cancels). What a source granted can be taken back (clawed
//! back) as far as it is not consumed. [`build`] wires the public service `evenkeel.quota.v1.QuotaService` and, for the
//! orchestrator only, `evenkeel.quota.v1.QuotaSteps`; the same function of `app/` serves both.
//!
//! # Invariants
//! * granted = available + reserved + consumed + expired + clawed back, none of them negative, for every account; a CHECK
//!   refuses anything else.
//! * Every movement is one row of an append-only ledger, written in the transaction that moves. The account is a cache
//!   of the ledger; [`drift`] compares the two, and both with reservations and grants.
//! * Locks are taken in this order: barrier rows, the account row, everything else. Nothing moves without the lock on
//!   the account row, so accounts are never oversold, whatever number of processes serve them.
//! * A task id is used once. What was cancelled, confirmed or has expired stays so. Time is the database's.
//! * Grants are burnt in the order of priority, expiry, age. A reservation remembers what it took from which, and gives it
//!   back there; what comes back to a grant that is over, or that a clawback waits for, goes on in the same transaction.
//! * A source grants once per line, and no more after everything was clawed back.
//!
//! # What it is not
//! A price list, or a record of payments. It does not know what a unit of quota is worth.

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

use process::PoolGauge;
use proto::quota::v1::quota_service_server::{QuotaServiceServer, SERVICE_NAME as PUBLIC};
use proto::quota::v1::quota_steps_server::{QuotaStepsServer, SERVICE_NAME as STEPS};
use token::{AccessError, Guard};
use tonic::service::Routes;

pub use crate::events::FACTS;
pub use config::{Config, Error as ConfigError};
pub use domain::MAX_AMOUNT;
pub use drift::{Drift, drift, rebuild_account};
pub use jobs::Job;

/// Name of the service's schema, which the pools' `search_path` must name.
pub const SCHEMA: &str = "quota";

/// The service's migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/quota");

/// `ErrorInfo.domain` of the service's errors.
pub const DOMAIN: &str = "quota.evenkeel";

/// What the service needs.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Connections for the public service.
    pub pool: PoolGauge,
    /// Connections for the steps, so that neither side can starve the other.
    pub steps_pool: PoolGauge,
    /// Who may call.
    pub guard: Guard,
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
    /// A method of the contract does not say who may call it.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Wires the service. Connects to nothing.
///
/// # Errors
/// The configuration cannot be used, or a method of the contract does not say who may call it.
pub fn build(config: &Config, deps: Deps) -> Result<Service, BuildError> {
    config.check()?;
    let config = *config;
    let jobs = vec![jobs::expiry(deps.pool.clone(), config)];
    let public = QuotaServiceServer::new(grpc::Public {
        pool: deps.pool,
        config,
    });
    let steps = QuotaStepsServer::new(steps::Steps {
        pool: deps.steps_pool,
        config,
    });
    Ok(Service {
        public: deps.guard.layer(&[PUBLIC])?.guard(Routes::new(public)),
        steps: deps.guard.layer(&[STEPS])?.guard(Routes::new(steps)),
        jobs,
    })
}
