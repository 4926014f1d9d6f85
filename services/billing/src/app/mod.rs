//! One operation, one transaction. A step's work runs inside the transaction of its barrier; everything else opens one of
//! its own ([`App::transaction`]). No provider is called, and the orchestrator is not waited for, inside one.

pub(crate) mod desk;
mod hints;
pub(crate) mod memberships;
pub(crate) mod notify;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod plans;
pub(crate) mod refunds;
mod sagas;
mod starts;
pub(crate) mod withdrawals;

use std::collections::BTreeMap;
use std::sync::Arc;

use kms::Kms;
use pay::Provider;
use process::PoolGauge;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use sqlx::PgConnection;
use token::Channel as Wire;
use tokio::sync::{Notify, Semaphore};

use crate::config::Config;
use crate::domain::Channel;
use crate::error::Error;

pub(crate) use hints::{Changed, Hints, carry};
pub(crate) use sagas::{Begin, begin, without};
pub(crate) use starts::start_due;

/// Handles that the operations need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Pool of the public services.
    pub(crate) pool: PoolGauge,
    /// Pool of the steps and the jobs.
    pub(crate) steps_pool: PoolGauge,
    /// Room for steps: those beyond wait, so that people and notifications do not wait behind all of them.
    pub(crate) room_for_steps: Arc<Semaphore>,
    pub(crate) sagas: SagaServiceClient<Wire>,
    pub(crate) completions: CompletionServiceClient<Wire>,
    pub(crate) channels: Arc<BTreeMap<Channel, Arc<dyn Provider>>>,
    pub(crate) config: Arc<Config>,
    /// Tells the jobs of this process that something is due.
    pub(crate) due: Arc<Notify>,
    /// Tells the job that applies notifications that one has come.
    pub(crate) inbox: Arc<Notify>,
    /// Tells the orchestrator that what a saga waits for may have come.
    pub(crate) hints: Hints,
    pub(crate) kms: Kms,
}

impl App {
    /// Returns the provider of a channel.
    pub(crate) fn provider(&self, channel: Channel) -> Result<&dyn Provider, Error> {
        self.channels
            .get(&channel)
            .map(AsRef::as_ref)
            .ok_or(Error::NoChannel(channel))
    }

    /// Runs an operation in a transaction of its own; rolls back if it fails.
    pub(crate) async fn transaction<T>(
        pool: &PoolGauge,
        operation: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Waiting for a row, and then seeing what its last holder did, needs READ COMMITTED.
        let mut tx = pool.begin_with("begin isolation level read committed").await?;
        let done = operation(&mut tx).await?;
        tx.commit().await?;
        Ok(done)
    }
}
