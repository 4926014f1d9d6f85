//! Lists of sagas.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use ids::SagaId;
use saga_core::{FailureClass, Millis, Op, Phase, StepError};
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{MAX_ROWS, ReadError, Reader, Stored, StoredRow, select_stored};
use crate::journal::codec::{error_from, millis, op_from, position_from, timestamp};
use crate::journal::load::instance_columns;

/// An id is made a little before the instant that the saga's start is given.
const ID_SLACK_MS: i64 = 1_000;

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
    /// Only sagas that were started at this instant or before.
    pub started_by: Option<Millis>,
    /// Only unfinished sagas that have such an operation open.
    pub open: OpenFilter,
}

/// Which sagas have an open operation that all of this holds for; the default asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenFilter {
    /// Of the step with this name.
    pub step: Option<String>,
    /// Whose latest failure was of this class.
    pub error_class: Option<FailureClass>,
    /// With at least so many attempts made.
    pub min_attempts: Option<u32>,
    /// That has failed and is called again.
    pub retrying: bool,
}

impl OpenFilter {
    /// Tells whether it asks for anything.
    #[must_use]
    pub fn asks(&self) -> bool {
        *self != Self::default()
    }

    /// Tells whether only an operation that has failed can meet it.
    fn asks_for_failure(&self) -> bool {
        self.error_class.is_some() || self.retrying || self.min_attempts.is_some_and(|n| n > 1)
    }
}

/// An operation that may have been called and has no final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOperation {
    /// Position of the step; the call after the last compensation comes after the last.
    pub step: u16,
    /// Index of a fanned-out step; 0 otherwise.
    pub index: u32,
    /// Which operation of the step.
    pub op: Op,
    /// Name of the step.
    pub name: String,
    /// Attempts made.
    pub attempts: u32,
    /// The participant has said that it works on it.
    pub pending: bool,
    /// When it is called again, if the latest attempt failed.
    pub next_at: Option<Millis>,
    /// Class of the latest failure.
    pub last_error_class: Option<String>,
    /// The latest failure.
    pub last_error: Option<StepError>,
}

impl Reader {
    /// Lists sagas, newest first, at most `rows` (1 to 501) of those older than `before`, without their events. With a
    /// filter for open operations, their open operations are with them.
    ///
    /// Such a filter looks at the events of the unfinished sagas that meet the rest of it, one after the other until the
    /// page is full. A page of which nothing is found among 100,000 unfinished sagas took 2.5 s, or 0.1 s if the filter
    /// asks for a failure and few have failed; one that is full after its first 51 sagas took 0.05 s.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn list(
        &self,
        filter: &Filter,
        rows: u32,
        before: Option<SagaId>,
    ) -> Result<Vec<Stored>, ReadError> {
        let asks_for_nul = [&filter.saga_type, &filter.business_id, &filter.open.step]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'));
        if asks_for_nul {
            return Ok(Vec::new());
        }
        let rows: Vec<StoredRow> = list_query("", filter, rows, before)
            .build_query_as()
            .fetch_all(&self.pool)
            .await?;
        let mut sagas: Vec<Stored> = rows
            .into_iter()
            .map(StoredRow::stored)
            .collect::<Result<_, _>>()?;
        if filter.open.asks() {
            self.add_open(&mut sagas).await?;
        }
        Ok(sagas)
    }

    /// Returns how the database would run the query of a list. For tests that hold it to its indexes.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn explain_list(&self, filter: &Filter, rows: u32) -> Result<String, ReadError> {
        let lines: Vec<String> = list_query("explain ", filter, rows, None)
            .build_query_scalar()
            .fetch_all(&self.pool)
            .await?;
        Ok(lines.join("\n"))
    }

    async fn add_open(&self, sagas: &mut [Stored]) -> Result<(), ReadError> {
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.id.uuid()).collect();
        let rows: Vec<OpenRow> = sqlx::query_as(
            "select
                s.saga_uuid, s.step::int2 as step, s.idx, s.open_op, s.step_name, s.open_attempts, s.open_pending,
                coalesce(s.action_next, s.undo_next) as next_at, s.open_class, s.open_error::text as open_error
             from unnest($1::uuid[]) w (id)
             cross join lateral (
                select * from saga.step_states s where s.saga_uuid = w.id and s.open_op is not null offset 0
             ) s
             order by s.step, s.idx",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let mut by_saga: HashMap<Uuid, Vec<OpenOperation>> = HashMap::new();
        for row in rows {
            by_saga.entry(row.saga_uuid).or_default().push(row.operation()?);
        }
        for saga in sagas {
            saga.open = by_saga.remove(&saga.id.uuid()).unwrap_or_default();
        }
        Ok(())
    }
}

/// The page is picked first: what is shown of a saga is read for those of the page alone.
fn list_query(
    prefix: &'static str,
    filter: &Filter,
    rows: u32,
    before: Option<SagaId>,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(prefix);
    query.push("with picked as materialized (select p.id from (select i.id from saga.instance i where true");
    push_filter(&mut query, filter);
    if let Some(before) = before {
        query.push(" and i.id < ").push_bind(before.uuid());
    }
    // The offset keeps this a query of its own, so that open operations are looked at in the order of the page.
    query.push(" order by i.id desc offset 0) p");
    if filter.open.asks() {
        push_open(&mut query, &filter.open);
    }
    query
        .push(" order by p.id desc limit ")
        .push_bind(i64::from(rows.clamp(1, MAX_ROWS)))
        .push(concat!(
            ") ",
            select_stored!(),
            " join picked on picked.id = i.id order by i.id desc"
        ));
    query
}

fn push_open(query: &mut QueryBuilder<Postgres>, open: &OpenFilter) {
    query.push(
        " cross join lateral (
            select 1 from saga.step_states s where s.saga_uuid = p.id and s.open_op is not null",
    );
    if let Some(step) = &open.step {
        query.push(" and s.step_name = ").push_bind(step.clone());
    }
    if let Some(class) = open.error_class {
        query.push(" and s.open_class = ").push_bind(class.name());
    }
    if let Some(attempts) = open.min_attempts {
        query
            .push(" and s.open_attempts >= ")
            .push_bind(i64::from(attempts));
    }
    if open.retrying {
        query.push(" and s.open_failing");
    }
    query.push(" limit 1) o");
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if filter.open.asks() {
        query.push(" and i.phase in ('RUNNING', 'COMPENSATING')");
    }
    if filter.open.asks_for_failure() {
        // Cheaper than the whole answer, and false for most. As a value with a limit it is not made a join.
        query.push(
            " and (select true from saga.event e where e.saga_id = i.id and e.kind = 'failed' limit 1)",
        );
    }
    if let Some(at) = filter.started_by {
        query
            .push(" and i.id < ")
            .push_bind(first_id_of(at.plus(ID_SLACK_MS.unsigned_abs())))
            .push(" and i.created_at <= ")
            .push_bind(timestamp(at));
    }
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

/// The lowest id that a saga can have whose id was made at this instant: ids begin with 48 bits of milliseconds.
pub(super) fn first_id_of(at: Millis) -> Uuid {
    let ms = u128::try_from(at.0.max(0)).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(ms << 80)
}

#[derive(Debug, FromRow)]
struct OpenRow {
    saga_uuid: Uuid,
    step: i16,
    idx: i32,
    open_op: String,
    step_name: String,
    open_attempts: i32,
    open_pending: bool,
    next_at: Option<DateTime<Utc>>,
    open_class: Option<String>,
    open_error: Option<String>,
}

impl OpenRow {
    fn operation(self) -> Result<OpenOperation, ReadError> {
        let number = |n: i32| u32::try_from(n).unwrap_or(0);
        Ok(OpenOperation {
            step: position_from(self.step)?,
            index: number(self.idx),
            op: op_from(&self.open_op)?,
            name: self.step_name,
            attempts: number(self.open_attempts),
            pending: self.open_pending,
            next_at: self.next_at.map(millis),
            last_error_class: self.open_class,
            last_error: self.open_error.as_deref().map(error_from).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_before_an_instant_are_below_its_first_id() {
        let id = SagaId::new().uuid();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let made = Millis(i64::try_from(seconds * 1_000 + u64::from(nanos / 1_000_000)).unwrap());
        assert!(first_id_of(made) <= id);
        assert!(first_id_of(made.plus(1)) > id);
        assert_eq!(first_id_of(Millis(-1)), Uuid::nil());
    }
}
