//! The journal of the orchestrator on Postgres: [`saga_engine::Journal`] with group commit, fence, lease and takeover.
//!
//! [`PgJournal`] is what one running instance writes with; [`Reader`] is what the API shows sagas with, whoever owns them
//! and whether or not they have ended.
//!
//! What it is not: it knows no definitions beyond their row (a [`Resolver`] does) and starts no tasks.
//!
//! # Invariants
//! * A batch is one statement that carries the fence: nothing of it is written unless the instance still has its epoch.
//! * Rows are locked in one order (own replica, other replica, business keys, sagas), each sorted.
//! * A load sees everything that will ever come of writes whose outcome was unknown before it.

mod append;
mod codec;
mod columns;
mod fence;
mod instances;
mod lease;
mod load;
mod notes;
mod operators;
mod park;
mod reader;
mod sql;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga_core::{Payload, Plan, Recorded};
use saga_engine::{Beat, DefinitionId, Fate, Journal, JournalError, Loaded, Noted, Transition};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use codec::Quarantine;
pub use instances::Instance;
pub use operators::{AuditEntry, AuditFilter, AuditKey, Operators, PausedType, TypePause};
pub use reader::{
    Filter, OpenFilter, OpenOperation, ReadError, Reader, Stored, StoredDefinition, StoredEvent, TypeCounts,
};

use append::Lanes;
use fence::Fence;
use lease::Takeover;

/// Connections for everything but batches: the heartbeat must not wait for the API's queries, nor for a long load.
const HOUSEKEEPING_CONNECTIONS: u32 = 4;
/// Longest time the heartbeat and loads wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The server gives up on a housekeeping statement after this, in milliseconds.
const HOUSEKEEPING_TIMEOUT_MS: u32 = 15_000;
/// The server ends a transaction that nothing comes for during this time, in milliseconds: an instance that is cut off in the
/// middle of a takeover must not keep the row of the dead one locked for long.
const IDLE_TIMEOUT_MS: u32 = 5_000;
/// We give up on an operation of several statements after this: a server that is gone does not tell, and the engine waits
/// for one load, one listing and one takeover at a time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an instance says of itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the instance, by default `<hostname>:<port>`. A second process with the same name replaces the first.
    pub instance: String,
    /// Where other instances reach this one, `http://host:port`; empty if they cannot.
    pub address: String,
    /// How long the instance may be silent before others take its sagas over.
    pub lease: Duration,
    /// Batches that may be written at the same time, each on a connection of its own; at least 1.
    pub lanes: usize,
}

/// Knows definitions.
pub trait Resolver: Send + Sync + 'static {
    /// Returns what a definition makes of an input; the same at every call.
    ///
    /// # Errors
    /// See [`ResolveError`].
    fn resolve(
        &self,
        definition: DefinitionId,
        input_json: &str,
    ) -> impl Future<Output = Result<Resolved, ResolveError>> + Send;
}

/// What a saga's definition and input say about it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Plan of the definition.
    pub plan: Arc<Plan>,
    /// Name of the definition.
    pub saga_type: Arc<str>,
    /// The input, with its decoded form.
    pub input: Payload,
    /// Machine time the saga may take, in milliseconds.
    pub deadline_ms: u64,
    /// For each step that waits for a person: how long, in milliseconds. Empty if no step does.
    pub expires_ms: Vec<Option<u64>>,
}

/// Why a definition cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not now; loading is tried again.
    #[error("the definition cannot be read now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Never, as far as this program can tell; the saga is parked.
    #[error("the definition or the input cannot be understood: {0}")]
    Broken(String),
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot be used.
    #[error("journal: {0}")]
    Config(&'static str),
    /// The database cannot be reached, refuses us, or has no schema `saga`.
    #[error("journal: cannot register the instance {instance}")]
    Database {
        /// The instance.
        instance: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

/// The journal as one running instance sees it.
#[derive(Debug)]
pub struct PgJournal<R> {
    fence: Fence,
    lanes: Lanes,
    pool: PgPool,
    lease: Duration,
    takeover: Takeover,
    resolver: R,
}

impl<R: Resolver> PgJournal<R> {
    /// Registers the instance under a new epoch, which fences a process that runs under the same name.
    ///
    /// Opens connections of its own, like those of `options`: one for each lane, and up to 4 for everything else. Take
    /// `options` from the service's pool with `pool.connect_options()`.
    ///
    /// # Errors
    /// A configuration that cannot be used, or a database that does not take the registration.
    pub async fn open(options: &PgConnectOptions, config: &Config, resolver: R) -> Result<Self, OpenError> {
        if config.instance.is_empty() || config.instance.contains('\0') {
            return Err(OpenError::Config("the instance needs a name"));
        }
        if config.lease < Duration::from_millis(10) {
            return Err(OpenError::Config("a lease is at least 10 ms long"));
        }
        let pool = PgPoolOptions::new()
            .max_connections(HOUSEKEEPING_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(
                options
                    .clone()
                    .application_name(&format!("evenkeel/saga/{}", config.instance))
                    .options([
                        ("statement_timeout", HOUSEKEEPING_TIMEOUT_MS),
                        ("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS),
                    ]),
            );
        let (epoch, incarnation) =
            lease::register(&pool, config)
                .await
                .map_err(|source| OpenError::Database {
                    instance: config.instance.clone(),
                    source,
                })?;
        tracing::info!(instance = config.instance, epoch, "the journal is open");
        Ok(Self {
            fence: Fence::new(&config.instance, epoch, incarnation),
            lanes: Lanes::new(options, &config.instance, config.lanes),
            pool,
            lease: config.lease,
            takeover: Takeover::default(),
            resolver,
        })
    }
}

impl<R: Resolver> Journal for PgJournal<R> {
    fn epoch(&self) -> u64 {
        u64::try_from(self.fence.epoch).unwrap_or(0)
    }

    async fn append(&self, lane: usize, batch: &[Transition]) -> Result<Vec<Fate>, JournalError> {
        self.lanes.append(&self.fence, lane, batch).await
    }

    async fn load(&self, sagas: Vec<SagaId>) -> Result<Vec<Loaded>, JournalError> {
        bounded(self.load_sagas(&sagas)).await
    }

    async fn owned(&self, after: Option<SagaId>, limit: usize) -> Result<Vec<(SagaId, u32)>, JournalError> {
        bounded(self.list_owned(after, limit)).await
    }

    async fn count_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        bounded(self.change_claims(&sagas, park::COUNT_CLAIMS)).await
    }

    async fn clear_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        bounded(self.change_claims(&sagas, park::CLEAR_CLAIMS)).await
    }

    async fn quarantine(&self, saga: SagaId, why: String) -> Result<(), JournalError> {
        bounded(self.park(saga, &why)).await
    }

    async fn release(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: Recorded,
    ) -> Result<Noted, JournalError> {
        bounded(self.unpark(saga, expected_version, &recorded)).await
    }

    async fn acknowledge(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: Recorded,
    ) -> Result<Noted, JournalError> {
        bounded(self.note_attention(saga, expected_version, &recorded)).await
    }

    async fn beat(&self) -> Result<Beat, JournalError> {
        self.renew_lease().await
    }

    async fn resign(&self) -> Result<(), JournalError> {
        bounded(self.give_up_lease()).await
    }

    async fn take_over(&self, limit: usize) -> Result<Vec<SagaId>, JournalError> {
        bounded(self.take_over_chunk(limit)).await
    }
}

/// Ends an operation that the database does not answer.
async fn bounded<T>(operation: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
    match tokio::time::timeout(PATIENCE, Box::pin(operation)).await {
        Ok(result) => result,
        Err(elapsed) => Err(JournalError::Unknown(Box::new(elapsed))),
    }
}
