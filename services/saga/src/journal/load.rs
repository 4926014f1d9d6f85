//! Loading sagas to drive them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ids::SagaId;
use saga_core::{Event, Recorded, Start};
use saga_engine::{DefinitionId, Identity, JournalError, Loaded, Row};
use uuid::Uuid;

use super::codec::{
    EventRow, FORMAT, Garbled, Quarantine, attention_from, clock_from, error_from, event_columns, millis,
    parked_from, phase_from, position_from, reason_from,
};
use super::fence::unknown;
use super::{PgJournal, ResolveError, Resolver};

/// A saga's row as stored.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct InstanceRow {
    pub(super) id: Uuid,
    pub(super) definition_id: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    deadline_at: Option<DateTime<Utc>>,
    left_ms: Option<i64>,
    failed_step: Option<i16>,
    pub(super) claims: i16,
    pub(super) needs_attention: bool,
    pub(super) quarantined: bool,
    phase: String,
    reason: Option<String>,
    error: Option<String>,
    attention: Option<String>,
    pub(super) owner: String,
    pub(super) business_id: String,
    pub(super) actor: String,
    pub(super) traceparent: Option<String>,
    pub(super) input: String,
}

/// The columns of [`InstanceRow`], of a table that goes by `i`.
macro_rules! instance_columns {
    () => {
        "i.id, i.definition_id, i.created_at, i.ended_at, i.deadline_at, i.left_ms, i.failed_step, i.claims,
         i.needs_attention, i.quarantined, i.phase, i.reason, i.error::text as error, i.attention::text as attention,
         i.owner, i.business_id, i.actor, i.traceparent, i.input::text as input"
    };
}
pub(super) use instance_columns;

impl InstanceRow {
    /// Reads what the engine calls the row. Whether the commit point is passed stands in the events alone.
    pub(super) fn row(&self, committed: bool) -> Result<Row, Garbled> {
        Ok(Row {
            phase: phase_from(&self.phase)?,
            reason: self.reason.as_deref().map(reason_from).transpose()?,
            failed_step: self.failed_step.map(position_from).transpose()?,
            error: self.error.as_deref().map(error_from).transpose()?,
            committed,
            clock: clock_from(self.deadline_at, self.left_ms)?,
            attention: self.attention.as_deref().map_or(Ok(Vec::new()), attention_from)?,
        })
    }
}

impl InstanceRow {
    /// Reads why it is parked, if it is.
    pub(super) fn quarantine(&self) -> Result<Option<Quarantine>, Garbled> {
        match self.attention.as_deref().filter(|_| self.quarantined) {
            Some(attention) => parked_from(attention),
            None => Ok(None),
        }
    }
}

impl<R: Resolver> PgJournal<R> {
    pub(super) async fn list_owned(
        &self,
        after: Option<SagaId>,
        limit: usize,
    ) -> Result<Vec<(SagaId, u32)>, JournalError> {
        let rows: Vec<(Uuid, i16)> = sqlx::query_as(
            "select id, claims from saga.instance
             where owner = $1 and phase in ('RUNNING', 'COMPENSATING') and id > $2 and format <= $3
             order by id
             limit $4",
        )
        .bind(&*self.fence.instance)
        .bind(after.map_or(Uuid::nil(), SagaId::uuid))
        .bind(FORMAT)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(unknown)?;
        Ok(rows
            .into_iter()
            .map(|(id, claims)| (SagaId::from_uuid(id), u32::try_from(claims).unwrap_or(0)))
            .collect())
    }

    /// Loads sagas; one that cannot be understood is parked and left out, so that its neighbours go on.
    pub(super) async fn load_sagas(&self, sagas: &[SagaId]) -> Result<Vec<Loaded>, JournalError> {
        self.fence.settle(&self.pool).await?;
        self.check_fence().await?;
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.uuid()).collect();
        let rows: Vec<InstanceRow> = sqlx::query_as(concat!(
            "select ",
            instance_columns!(),
            " from saga.instance i
              where i.id = any ($1) and i.owner = $2 and i.phase in ('RUNNING', 'COMPENSATING') and i.format <= $3
              order by i.id"
        ))
        .bind(&ids)
        .bind(&*self.fence.instance)
        .bind(FORMAT)
        .fetch_all(&self.pool)
        .await
        .map_err(unknown)?;
        let mut events = self.events_of(rows.iter().map(|row| row.id).collect()).await?;
        let mut loaded = Vec::with_capacity(rows.len());
        for row in rows {
            let id = SagaId::from_uuid(row.id);
            let stored = events.remove(&row.id).unwrap_or_default();
            match self.assemble(row, stored).await {
                Ok(saga) => loaded.push(saga),
                Err(ResolveError::Unavailable(source)) => return Err(JournalError::Unknown(source)),
                Err(ResolveError::Broken(why)) => self.park(id, &why).await?,
            }
        }
        Ok(loaded)
    }

    async fn events_of(&self, sagas: Vec<Uuid>) -> Result<HashMap<Uuid, Vec<EventRow>>, JournalError> {
        let rows: Vec<EventRow> = sqlx::query_as(concat!(
            "select ",
            event_columns!(),
            " from saga.event
             where saga_id = any ($1)
             order by saga_id, seq"
        ))
        .bind(sagas)
        .fetch_all(&self.pool)
        .await
        .map_err(unknown)?;
        let mut by_saga: HashMap<Uuid, Vec<EventRow>> = HashMap::new();
        for row in rows {
            by_saga.entry(row.saga_id).or_default().push(row);
        }
        Ok(by_saga)
    }

    async fn assemble(&self, stored: InstanceRow, events: Vec<EventRow>) -> Result<Loaded, ResolveError> {
        let broken = |error: Garbled| ResolveError::Broken(error.to_string());
        let events: Vec<Recorded> = events
            .into_iter()
            .map(EventRow::recorded)
            .collect::<Result<_, _>>()
            .map_err(broken)?;
        let committed = events.iter().any(|r| r.event == Event::Committed);
        let row = stored.row(committed).map_err(broken)?;
        let definition = DefinitionId(stored.definition_id);
        let resolved = self.resolver.resolve(definition, &stored.input).await?;
        Ok(Loaded {
            identity: Arc::new(Identity {
                id: SagaId::from_uuid(stored.id),
                saga_type: resolved.saga_type,
                business_id: stored.business_id,
                definition,
                plan: resolved.plan,
                input: resolved.input,
                traceparent: stored.traceparent,
                start: Start {
                    at: millis(stored.created_at),
                    deadline_ms: resolved.deadline_ms,
                    expires_ms: resolved.expires_ms,
                },
                actor: stored.actor,
            }),
            events,
            row,
            claims: u32::try_from(stored.claims).unwrap_or(0),
            quarantined: stored.quarantined,
        })
    }
}
