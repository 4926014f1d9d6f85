//! Reading sagas for people and services: any owner, ended ones, too.

use chrono::{DateTime, Utc};
use ids::SagaId;
use saga_core::{Millis, Phase, Recorded};
use saga_engine::{DefinitionId, Row};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::codec::{EventRow, Garbled, event_columns, millis};
use super::load::{InstanceRow, instance_columns};

/// Most sagas read at once: a page, and one more that tells whether there is a next.
const MAX_ROWS: u32 = 501;

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
    /// Whether it is parked.
    pub quarantined: bool,
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
}

/// Which sagas to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this type only.
    pub saga_type: Option<String>,
    /// In one of these phases only; empty means any.
    pub phases: Vec<Phase>,
    /// With this business key only.
    pub business_id: Option<String>,
    /// Only sagas that a person should look at.
    pub needs_attention: bool,
}

/// How many sagas there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Going forward.
    pub running: u64,
    /// Unwinding.
    pub compensating: u64,
    /// Ended with success.
    pub completed: u64,
    /// Ended undone.
    pub compensated: u64,
    /// Ended by an operator.
    pub resolved: u64,
    /// Need attention; also counted under their phase.
    pub needs_attention: u64,
}

/// Reads sagas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: PgPool,
}

macro_rules! select_stored {
    () => {
        concat!(
            "select ",
            instance_columns!(),
            ", d.name, d.version, d.revision, d.steps, d.compensated, d.epilogue, v.current_step, v.updated_at,
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

impl Reader {
    /// Reads through this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
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

    /// Lists sagas, newest first, at most `rows` (1 to 501) of those older than `before`, without their events.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn list(
        &self,
        filter: &Filter,
        rows: u32,
        before: Option<SagaId>,
    ) -> Result<Vec<Stored>, ReadError> {
        let asks_for_nul = [&filter.saga_type, &filter.business_id]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'));
        if asks_for_nul {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::new(concat!(select_stored!(), " where true"));
        push_filter(&mut query, filter);
        if let Some(before) = before {
            query.push(" and i.id < ").push_bind(before.uuid());
        }
        query
            .push(" order by i.id desc limit ")
            .push_bind(i64::from(rows.clamp(1, MAX_ROWS)));
        let rows: Vec<StoredRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(StoredRow::stored).collect()
    }

    /// Counts sagas by phase. Reads every saga.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn counts(&self) -> Result<Counts, ReadError> {
        let (running, compensating, completed, compensated, resolved, needs_attention): (
            i64,
            i64,
            i64,
            i64,
            i64,
            i64,
        ) = sqlx::query_as(
            "select
                    count(*) filter (where phase = 'RUNNING'),
                    count(*) filter (where phase = 'COMPENSATING'),
                    count(*) filter (where phase = 'COMPLETED'),
                    count(*) filter (where phase = 'COMPENSATED'),
                    count(*) filter (where phase = 'RESOLVED'),
                    count(*) filter (where needs_attention)
                 from saga.instance",
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Counts {
            running: count(running),
            compensating: count(compensating),
            completed: count(completed),
            compensated: count(compensated),
            resolved: count(resolved),
            needs_attention: count(needs_attention),
        })
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

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if !filter.phases.is_empty() {
        // As literals, so that the planner sees when the index of unfinished sagas will do.
        query.push(" and i.phase in (");
        let mut names = query.separated(", ");
        for phase in &filter.phases {
            names.push(match phase {
                Phase::Running => "'RUNNING'",
                Phase::Compensating => "'COMPENSATING'",
                Phase::Completed => "'COMPLETED'",
                Phase::Compensated => "'COMPENSATED'",
                Phase::Resolved => "'RESOLVED'",
            });
        }
        query.push(")");
    }
    if filter.needs_attention {
        query.push(" and i.needs_attention");
    }
    match (&filter.saga_type, &filter.business_id) {
        (Some(saga_type), Some(business_id)) => {
            query
                .push(" and i.id = (select k.saga_id from saga.saga_keys k where k.type = ")
                .push_bind(saga_type.clone())
                .push(" and k.business_id = ")
                .push_bind(business_id.clone())
                .push(")");
        }
        (Some(saga_type), None) => {
            query
                .push(" and i.definition_id = any (array(select t.id from saga.definition t where t.name = ")
                .push_bind(saga_type.clone())
                .push("))");
        }
        (None, Some(business_id)) => {
            query
                .push(
                    " and i.id = any (array(select k.saga_id from (select distinct name from saga.definition) t
                      join saga.saga_keys k on k.type = t.name and k.business_id = ",
                )
                .push_bind(business_id.clone())
                .push("))");
        }
        (None, None) => {}
    }
}

#[derive(Debug)]
struct StoredRow {
    instance: InstanceRow,
    definition: StoredDefinition,
    current_step: Option<String>,
    updated_at: DateTime<Utc>,
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
            owner_address: row.try_get("owner_address")?,
            event_count: row.try_get("event_count")?,
            committed: row.try_get("committed")?,
        })
    }
}

impl StoredRow {
    fn stored(self) -> Result<Stored, ReadError> {
        let row = self.instance.row(self.committed)?;
        let instance = self.instance;
        Ok(Stored {
            id: SagaId::from_uuid(instance.id),
            definition: self.definition,
            business_id: instance.business_id,
            input: instance.input,
            row,
            needs_attention: instance.needs_attention,
            quarantined: instance.quarantined,
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
