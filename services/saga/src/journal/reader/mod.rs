//! Reading sagas for people and services: any owner, ended ones, too.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ids::SagaId;
use saga_core::{Millis, Recorded};
use saga_engine::{DefinitionId, Row};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::codec::{EventRow, Garbled, Quarantine, event_columns, millis};
use super::load::{InstanceRow, instance_columns};

mod counts;
mod list;

pub use counts::TypeCounts;
pub use list::{Filter, OpenFilter, OpenOperation};

use counts::Tally;

/// Most rows read at once: a page, and one more that tells whether there is a next.
pub(super) const MAX_ROWS: u32 = 501;

/// Why sagas cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer the query.
    #[error("the journal cannot be read")]
    Database(#[from] sqlx::Error),
    /// A row is not what this program writes.
    #[error(transparent)]
    Garbled(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Garbled> for ReadError {
    fn from(garbled: Garbled) -> Self {
        Self::Garbled(Box::new(garbled))
    }
}

/// What people want to know of a saga's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinition {
    /// Which.
    pub id: DefinitionId,
    /// Name: the type of the saga.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Revision of the version.
    pub revision: u32,
    /// Names of the steps, in order.
    pub steps: Vec<String>,
    /// For each step: whether it has a compensation.
    pub compensated: Vec<bool>,
    /// Name of the call after the last compensation.
    pub epilogue: Option<String>,
}

/// An event with what only people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Number, from 0.
    pub seq: u32,
    /// The event, its instant and its actor.
    pub recorded: Recorded,
    /// Request of the attempt that the event ended, as proto-JSON.
    pub request: Option<String>,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: Option<u32>,
}

/// A saga as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The saga.
    pub id: SagaId,
    /// Definition it was started with.
    pub definition: StoredDefinition,
    /// Business key.
    pub business_id: String,
    /// Input, as proto-JSON.
    pub input: String,
    /// Phase, reason, error, clock, attention.
    pub row: Row,
    /// Whether a person should look.
    pub needs_attention: bool,
    /// Whether it is parked: nobody drives it until an operator releases it.
    pub quarantined: bool,
    /// Why it is parked, if it is.
    pub quarantine: Option<Quarantine>,
    /// Whether an operator holds back its calls: its own, or those of its type.
    pub paused: bool,
    /// Name of the lowest unfinished step, or of the one being undone; none after the end.
    pub current_step: Option<String>,
    /// When it was started.
    pub created_at: Millis,
    /// When something was recorded last.
    pub updated_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// How many events it has; rises with every recorded change.
    pub event_count: u32,
    /// Who started it.
    pub actor: String,
    /// W3C trace context of the start.
    pub traceparent: Option<String>,
    /// Instance that drives it, or drove it last.
    pub owner: String,
    /// Where that instance is reached, if it is known and can be.
    pub owner_address: Option<String>,
    /// Its events, in order, without the end, which is the phase. Empty in lists.
    pub events: Vec<StoredEvent>,
    /// Its open operations, in lists that were filtered by them.
    pub open: Vec<OpenOperation>,
}

/// Reads sagas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: PgPool,
    tally: Arc<Mutex<Tally>>,
}

/// What [`StoredRow`] is read from.
macro_rules! select_stored {
    () => {
        concat!(
            "select ",
            instance_columns!(),
            ", d.name, d.version, d.revision, d.steps, d.compensated, d.epilogue, v.current_step, v.updated_at, v.paused,
              nullif(r.address, '') as owner_address,
              coalesce((select max(e.seq) + 1 from saga.event e where e.saga_id = i.id), 0) as event_count,
              exists (select 1 from saga.event e where e.saga_id = i.id and e.kind = 'committed') as committed
             from saga.instance i
             join saga.definition d on d.id = i.definition_id
             join saga.saga_instances v on v.saga_uuid = i.id
             left join saga.replica r on r.id = i.owner"
        )
    };
}
use select_stored;

impl Reader {
    /// Reads through this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            tally: Arc::default(),
        }
    }

    /// Returns a saga with its events.
    ///
    /// # Errors
    /// The database does not answer, or the saga was written by a program that this one does not understand.
    pub async fn get(&self, saga: SagaId) -> Result<Option<Stored>, ReadError> {
        let row: Option<StoredRow> = sqlx::query_as(concat!(select_stored!(), " where i.id = $1"))
            .bind(saga.uuid())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut stored = row.stored()?;
        stored.events = self.events(saga).await?;
        // Events may have been added since the row was read; a count that is behind them would hide a change.
        stored.event_count = stored.events.last().map_or(stored.event_count, |e| e.seq + 1);
        Ok(Some(stored))
    }

    /// Returns the saga that has a business key, with its events.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn find(&self, saga_type: &str, business_id: &str) -> Result<Option<Stored>, ReadError> {
        // No key contains NUL, and the database does not let us ask.
        if saga_type.contains('\0') || business_id.contains('\0') {
            return Ok(None);
        }
        let id: Option<Uuid> =
            sqlx::query_scalar("select saga_id from saga.saga_keys where type = $1 and business_id = $2")
                .bind(saga_type)
                .bind(business_id)
                .fetch_optional(&self.pool)
                .await?;
        match id {
            Some(id) => self.get(SagaId::from_uuid(id)).await,
            None => Ok(None),
        }
    }

    async fn events(&self, saga: SagaId) -> Result<Vec<StoredEvent>, ReadError> {
        let rows: Vec<StoredEventRow> = sqlx::query_as(concat!(
            "select ",
            event_columns!(),
            ", request::text as request, duration_ms
             from saga.event
             where saga_id = $1
             order by seq"
        ))
        .bind(saga.uuid())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(StoredEventRow::stored).collect()
    }
}

#[derive(Debug)]
struct StoredRow {
    instance: InstanceRow,
    definition: StoredDefinition,
    current_step: Option<String>,
    updated_at: DateTime<Utc>,
    paused: bool,
    owner_address: Option<String>,
    event_count: i32,
    committed: bool,
}

impl FromRow<'_, PgRow> for StoredRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row as _;
        let number = |name| row.try_get::<i32, _>(name).map(|n| u32::try_from(n).unwrap_or(0));
        Ok(Self {
            instance: InstanceRow::from_row(row)?,
            definition: StoredDefinition {
                id: DefinitionId(row.try_get("definition_id")?),
                name: row.try_get("name")?,
                version: number("version")?,
                revision: number("revision")?,
                steps: row.try_get("steps")?,
                compensated: row.try_get("compensated")?,
                epilogue: row.try_get("epilogue")?,
            },
            current_step: row.try_get("current_step")?,
            updated_at: row.try_get("updated_at")?,
            paused: row.try_get("paused")?,
            owner_address: row.try_get("owner_address")?,
            event_count: row.try_get("event_count")?,
            committed: row.try_get("committed")?,
        })
    }
}

impl StoredRow {
    fn stored(self) -> Result<Stored, ReadError> {
        let row = self.instance.row(self.committed)?;
        let quarantine = self.instance.quarantine()?;
        let instance = self.instance;
        Ok(Stored {
            id: SagaId::from_uuid(instance.id),
            definition: self.definition,
            business_id: instance.business_id,
            input: instance.input,
            row,
            needs_attention: instance.needs_attention,
            quarantined: instance.quarantined,
            quarantine,
            paused: self.paused,
            current_step: self.current_step,
            created_at: millis(instance.created_at),
            updated_at: millis(self.updated_at),
            ended_at: instance.ended_at.map(millis),
            event_count: u32::try_from(self.event_count).unwrap_or(0),
            actor: instance.actor,
            traceparent: instance.traceparent,
            owner: instance.owner,
            owner_address: self.owner_address,
            events: Vec::new(),
            open: Vec::new(),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
struct StoredEventRow {
    #[sqlx(flatten)]
    event: EventRow,
    request: Option<String>,
    duration_ms: Option<i32>,
}

impl StoredEventRow {
    fn stored(self) -> Result<StoredEvent, ReadError> {
        Ok(StoredEvent {
            seq: u32::try_from(self.event.seq).unwrap_or(0),
            recorded: self.event.recorded()?,
            request: self.request,
            duration_ms: self.duration_ms.and_then(|ms| u32::try_from(ms).ok()),
        })
    }
}
