//! A batch as the arrays that its statement takes.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use saga_core::{Event, OperatorAction, Phase};
use saga_engine::{Entry, NewSaga, Row, Transition};
use serde::Serialize;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::codec::{
    EventColumns, FIRST_FORMAT, attention_json, clock_columns, error_json, position, readable, rfc3339,
    timestamp,
};
use super::fence::Seen;
use super::sql;

type Timestamp = DateTime<Utc>;
type Statement = Query<'static, Postgres, PgArguments>;

/// The arrays of one batch.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    events: Events<'a>,
    rows: Rows,
    outbox: Outbox<'a>,
    starts: Starts<'a>,
}

impl<'a> Columns<'a> {
    /// Collects a batch, in the order in which locks are to be taken.
    pub(super) fn of(batch: &'a [Transition]) -> Self {
        let mut by_saga: Vec<&Transition> = batch.iter().collect();
        by_saga.sort_unstable_by_key(|t| t.identity.id.uuid());
        let mut columns = Self::default();
        for transition in by_saga {
            columns.events.push(transition);
            columns.outbox.push(transition);
            if transition.start.is_none() {
                columns.rows.push_change(transition);
            }
        }
        let mut starts: Vec<(&Transition, &NewSaga)> = batch
            .iter()
            .filter_map(|t| t.start.as_ref().map(|start| (t, start)))
            .collect();
        starts.sort_unstable_by_key(|(t, _)| (&t.identity.saga_type, &t.identity.business_id));
        for (transition, start) in starts {
            columns.starts.push(transition, start);
        }
        columns
    }

    /// Returns the smallest statement that writes the batch, with its arguments.
    pub(super) fn statement(self, instance: &str, fence: Seen) -> Statement {
        let only_events = self.rows.id.is_empty() && self.outbox.id.is_empty() && self.starts.id.is_empty();
        let text = if only_events { sql::EVENTS } else { sql::BATCH };
        let query = sqlx::query(text)
            .bind(instance.to_owned())
            .bind(fence.epoch)
            .bind(fence.incarnation);
        let (fresh_events, query) = self.events.bind(query);
        if only_events {
            return query;
        }
        let (fresh_outbox, query) = self.outbox.bind(self.rows.bind(query));
        self.starts.bind(query).bind(fresh_events).bind(fresh_outbox)
    }
}

#[derive(Debug, Default)]
struct Events<'a> {
    saga_id: Vec<Uuid>,
    at: Vec<Timestamp>,
    next_retry_at: Vec<Option<Timestamp>>,
    seq: Vec<i32>,
    idx: Vec<Option<i32>>,
    attempt: Vec<Option<i32>>,
    duration_ms: Vec<Option<i32>>,
    step: Vec<Option<i16>>,
    kind: Vec<&'static str>,
    op: Vec<Option<&'static str>>,
    class: Vec<Option<&'static str>>,
    reason: Vec<Option<&'static str>>,
    actor: Vec<Option<Cow<'a, str>>>,
    error: Vec<Option<String>>,
    in_flight: Vec<Option<String>>,
    request: Vec<Option<&'a str>>,
    reply: Vec<Option<&'a str>>,
    operator: Vec<Option<String>>,
    fresh: Vec<bool>,
}

impl<'a> Events<'a> {
    fn push(&mut self, transition: &'a Transition) {
        for (seq, entry) in (transition.first_seq..).zip(&transition.entries) {
            let event = EventColumns::of(&entry.recorded.event);
            self.saga_id.push(transition.identity.id.uuid());
            self.at.push(timestamp(entry.recorded.at));
            self.next_retry_at.push(event.next_retry_at);
            self.seq.push(i32::try_from(seq).unwrap_or(i32::MAX));
            self.idx.push(event.idx);
            self.attempt.push(event.attempt);
            self.duration_ms
                .push(entry.duration_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)));
            self.step.push(event.step);
            self.kind.push(event.kind);
            self.op.push(event.op);
            self.class.push(event.class);
            self.reason.push(event.reason);
            self.actor.push(entry.recorded.actor.as_deref().map(readable));
            self.error.push(event.error);
            self.in_flight.push(event.in_flight);
            self.request
                .push(entry.request.as_ref().map(saga_core::Payload::json));
            self.reply.push(event.reply);
            self.operator.push(event.operator);
            self.fresh.push(transition.start.is_some());
        }
    }

    /// Binds everything but which of them belong to a start.
    fn bind(self, query: Statement) -> (Vec<bool>, Statement) {
        let query = query
            .bind(self.saga_id)
            .bind(self.at)
            .bind(self.next_retry_at)
            .bind(self.seq)
            .bind(self.idx)
            .bind(self.attempt)
            .bind(self.duration_ms)
            .bind(self.step)
            .bind(self.kind)
            .bind(self.op)
            .bind(self.class)
            .bind(self.reason)
            .bind(self.actor)
            .bind(self.error)
            .bind(self.in_flight)
            .bind(self.request)
            .bind(self.reply)
            .bind(self.operator);
        (self.fresh, query)
    }
}

/// What a [`Row`] becomes; a start has the same columns as a change.
#[derive(Debug, Default)]
struct RowColumns {
    ended_at: Vec<Option<Timestamp>>,
    deadline_at: Vec<Option<Timestamp>>,
    left_ms: Vec<Option<i64>>,
    failed_step: Vec<Option<i16>>,
    phase: Vec<Option<&'static str>>,
    reason: Vec<Option<&'static str>>,
    error: Vec<Option<String>>,
    attention: Vec<Option<String>>,
}

impl RowColumns {
    fn push(&mut self, row: Option<&Row>, at: Timestamp) {
        let (deadline_at, left_ms) = row.map_or((None, None), |r| clock_columns(r.clock));
        self.ended_at.push(row.filter(|r| r.phase.is_ended()).map(|_| at));
        self.deadline_at.push(deadline_at);
        self.left_ms.push(left_ms);
        self.failed_step
            .push(row.and_then(|r| r.failed_step).map(position));
        self.phase.push(row.map(|r| r.phase.name()));
        self.reason
            .push(row.and_then(|r| r.reason).map(saga_core::Reason::name));
        self.error
            .push(row.and_then(|r| r.error.as_ref()).map(error_json));
        let attention = row.map(|r| &r.attention).filter(|a| !a.is_empty());
        self.attention.push(attention.map(|a| attention_json(a)));
    }

    fn bind(self, query: Statement) -> Statement {
        query
            .bind(self.ended_at)
            .bind(self.deadline_at)
            .bind(self.left_ms)
            .bind(self.failed_step)
            .bind(self.phase)
            .bind(self.reason)
            .bind(self.error)
            .bind(self.attention)
    }
}

/// What a transition's events say about the row, besides what the engine calls the row.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// The format that a program must know to read them.
    format: i16,
    /// Since when the saga is paused, or that it is not any more; absent if the events do not say.
    paused: Option<Option<Timestamp>>,
}

impl Marks {
    fn of(entries: &[Entry]) -> Self {
        let mut marks = Self {
            format: FIRST_FORMAT,
            paused: None,
        };
        for Entry { recorded, .. } in entries {
            marks.format = marks.format.max(EventColumns::format(&recorded.event));
            if let Event::Operator { action, .. } = &recorded.event {
                match action {
                    OperatorAction::Pause => marks.paused = Some(Some(timestamp(recorded.at))),
                    OperatorAction::Resume => marks.paused = Some(None),
                    OperatorAction::RetryNow
                    | OperatorAction::ResolveSucceeded
                    | OperatorAction::ResolveFailed
                    | OperatorAction::Skip
                    | OperatorAction::Compensate
                    | OperatorAction::Resolve
                    | OperatorAction::Release
                    | OperatorAction::Acknowledge
                    | OperatorAction::Cancel => {}
                }
            }
        }
        marks
    }
}

#[derive(Debug, Default)]
struct Rows {
    id: Vec<Uuid>,
    columns: RowColumns,
    progressed: Vec<bool>,
    format: Vec<i16>,
    paused: Vec<Option<bool>>,
    paused_at: Vec<Option<Timestamp>>,
}

impl Rows {
    fn push_change(&mut self, transition: &Transition) {
        let marks = Marks::of(&transition.entries);
        if transition.row.is_none() && !transition.progressed && marks.format == FIRST_FORMAT {
            return;
        }
        self.id.push(transition.identity.id.uuid());
        self.columns
            .push(transition.row.as_ref(), timestamp(transition.at));
        self.progressed.push(transition.progressed);
        self.format.push(marks.format);
        self.paused.push(marks.paused.map(|at| at.is_some()));
        self.paused_at.push(marks.paused.flatten());
    }

    fn bind(self, query: Statement) -> Statement {
        self.columns
            .bind(query.bind(self.id))
            .bind(self.progressed)
            .bind(self.format)
            .bind(self.paused)
            .bind(self.paused_at)
    }
}

#[derive(Debug, Default)]
struct Outbox<'a> {
    id: Vec<Uuid>,
    saga_id: Vec<Uuid>,
    created_at: Vec<Timestamp>,
    topic: Vec<&'static str>,
    key: Vec<String>,
    traceparent: Vec<Option<Cow<'a, str>>>,
    data: Vec<String>,
    fresh: Vec<bool>,
}

/// Data of a message: what happened to which saga.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told<'a> {
    pub(super) saga_id: String,
    pub(super) r#type: &'a str,
    pub(super) business_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<&'static str>,
    pub(super) timestamp: String,
}

impl Told<'_> {
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a structure of text has a JSON form")
    }
}

impl<'a> Outbox<'a> {
    fn push(&mut self, transition: &'a Transition) {
        let Some(row) = &transition.row else { return };
        let ended = match row.phase {
            Phase::Completed => Some("saga.completed"),
            Phase::Compensated => Some("saga.compensated"),
            Phase::Running | Phase::Compensating | Phase::Resolved => None,
        };
        let cause = row.attention.first().map(|a| a.cause.name());
        let attention = cause.map(|_| "saga.attention");
        for topic in [ended, attention].into_iter().flatten() {
            let identity = &*transition.identity;
            let key = identity.id.to_string();
            let told = Told {
                saga_id: key.clone(),
                r#type: &identity.saga_type,
                business_id: &identity.business_id,
                reason: row.reason.map(saga_core::Reason::name),
                cause,
                timestamp: rfc3339(transition.at),
            };
            self.id.push(Uuid::now_v7());
            self.saga_id.push(identity.id.uuid());
            self.created_at.push(timestamp(transition.at));
            self.topic.push(topic);
            self.data.push(told.json());
            self.key.push(key);
            self.traceparent
                .push(identity.traceparent.as_deref().map(readable));
            self.fresh.push(transition.start.is_some());
        }
    }

    /// Binds everything but which of them belong to a start.
    fn bind(self, query: Statement) -> (Vec<bool>, Statement) {
        let query = query
            .bind(self.id)
            .bind(self.saga_id)
            .bind(self.created_at)
            .bind(self.topic)
            .bind(self.key)
            .bind(self.traceparent)
            .bind(self.data);
        (self.fresh, query)
    }
}

#[derive(Debug, Default)]
struct Starts<'a> {
    id: Vec<Uuid>,
    created_at: Vec<Timestamp>,
    saga_type: Vec<&'a str>,
    business_id: Vec<&'a str>,
    input_digest: Vec<&'a [u8]>,
    format: Vec<i16>,
    definition_id: Vec<i64>,
    columns: RowColumns,
    actor: Vec<Cow<'a, str>>,
    traceparent: Vec<Option<Cow<'a, str>>>,
    input: Vec<&'a str>,
}

impl<'a> Starts<'a> {
    fn push(&mut self, transition: &'a Transition, start: &'a NewSaga) {
        let identity = &*transition.identity;
        self.id.push(identity.id.uuid());
        self.created_at.push(timestamp(identity.start.at));
        self.saga_type.push(&identity.saga_type);
        self.business_id.push(&identity.business_id);
        self.input_digest.push(&start.input_digest);
        self.format.push(Marks::of(&transition.entries).format);
        self.definition_id.push(identity.definition.0);
        self.columns
            .push(transition.row.as_ref(), timestamp(transition.at));
        self.actor.push(readable(&identity.actor));
        self.traceparent
            .push(identity.traceparent.as_deref().map(readable));
        self.input.push(identity.input.json());
    }

    fn bind(self, query: Statement) -> Statement {
        let query = query
            .bind(self.id)
            .bind(self.created_at)
            .bind(self.saga_type)
            .bind(self.business_id)
            .bind(self.input_digest)
            .bind(self.format)
            .bind(self.definition_id);
        self.columns
            .bind(query)
            .bind(self.actor)
            .bind(self.traceparent)
            .bind(self.input)
    }
}
