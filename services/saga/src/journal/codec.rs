//! Values of the state machine as the journal keeps them, and back.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use saga_core::{
    Attention, Cause, Clock, Event, Failure, FailureClass, Millis, Op, OpKey, Payload, Phase, Reason,
    Recorded, StepError,
};
use serde::{Deserialize, Serialize};

/// Format of rows and events that this program writes, and the highest that it reads.
pub(super) const FORMAT: i16 = 1;

/// Instants beyond these are kept as these: 9999-12-31 and 0001-01-01. Postgres and chrono both hold them.
const LATEST_MS: i64 = 253_402_214_400_000;
const EARLIEST_MS: i64 = -62_135_596_800_000;

/// A stored row or event that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the journal holds {what} that this program does not understand: {found:?}")]
pub(super) struct Garbled {
    what: &'static str,
    found: String,
}

pub(super) fn garbled(what: &'static str, found: impl Into<String>) -> Garbled {
    Garbled {
        what,
        found: found.into(),
    }
}

/// Converts an instant for the database.
pub(super) fn timestamp(at: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.0.clamp(EARLIEST_MS, LATEST_MS)).unwrap_or_default()
}

/// Converts an instant from the database.
pub(super) fn millis(at: DateTime<Utc>) -> Millis {
    Millis(at.timestamp_millis())
}

/// Writes an instant as RFC 3339 with milliseconds.
pub(super) fn rfc3339(at: Millis) -> String {
    timestamp(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Replaces NUL, which text in Postgres cannot hold, in text that is for people.
///
/// In JSON it would be stored as an escape and then fail every query that extracts the text, the views among them.
pub(super) fn readable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[derive(Serialize, Deserialize)]
struct ErrorJson<'a> {
    code: Cow<'a, str>,
    reason: Cow<'a, str>,
    domain: Cow<'a, str>,
    message: Cow<'a, str>,
}

pub(super) fn error_json(error: &StepError) -> String {
    to_json(&ErrorJson {
        code: readable(&error.code),
        reason: readable(&error.reason),
        domain: readable(&error.domain),
        message: readable(&error.message),
    })
}

pub(super) fn error_from(json: &str) -> Result<StepError, Garbled> {
    let error: ErrorJson<'_> = from_json("an error", json)?;
    Ok(StepError {
        code: error.code.into(),
        reason: error.reason.into(),
        domain: error.domain.into(),
        message: error.message.into(),
    })
}

#[derive(Serialize, Deserialize)]
struct AttentionJson<'a> {
    cause: Cow<'a, str>,
    step: Option<u16>,
    since: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'a, str>>,
}

pub(super) fn attention_json(attention: &[Attention]) -> String {
    let all: Vec<AttentionJson<'_>> = attention
        .iter()
        .map(|a| AttentionJson {
            cause: a.cause.name().into(),
            step: a.step,
            since: timestamp(a.since),
            note: None,
        })
        .collect();
    to_json(&all)
}

/// Writes the one entry that says why a saga was parked.
pub(super) fn parked_json(since: Millis, why: &str) -> String {
    to_json(&[AttentionJson {
        cause: Cause::Quarantined.name().into(),
        step: None,
        since: timestamp(since),
        note: Some(readable(why)),
    }])
}

pub(super) fn attention_from(json: &str) -> Result<Vec<Attention>, Garbled> {
    let all: Vec<AttentionJson<'_>> = from_json("attention", json)?;
    all.into_iter()
        .map(|a| {
            Ok(Attention {
                cause: cause_from(&a.cause)?,
                step: a.step,
                since: millis(a.since),
            })
        })
        .collect()
}

#[derive(Serialize, Deserialize)]
struct InFlightJson {
    step: u16,
    index: u32,
}

fn in_flight_json(keys: &[OpKey]) -> String {
    let all: Vec<InFlightJson> = keys
        .iter()
        .map(|key| InFlightJson {
            step: key.step,
            index: key.index,
        })
        .collect();
    to_json(&all)
}

fn in_flight_from(json: &str) -> Result<Vec<OpKey>, Garbled> {
    let all: Vec<InFlightJson> = from_json("calls in flight", json)?;
    Ok(all
        .into_iter()
        .map(|key| OpKey {
            step: key.step,
            index: key.index,
            op: Op::Action,
        })
        .collect())
}

fn to_json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("plain structures of text and numbers have a JSON form")
}

fn from_json<'a, T: Deserialize<'a>>(what: &'static str, json: &'a str) -> Result<T, Garbled> {
    serde_json::from_str(json).map_err(|_| garbled(what, json))
}

fn cause_from(name: &str) -> Result<Cause, Garbled> {
    [
        Cause::CannotBeRefused,
        Cause::Unreachable,
        Cause::KeepsFailing,
        Cause::Misconfigured,
        Cause::DeadlinePassed,
        Cause::LateSuccess,
        Cause::Quarantined,
    ]
    .into_iter()
    .find(|cause| cause.name() == name)
    .ok_or_else(|| garbled("a cause of attention", name))
}

/// Reads a phase by its name.
pub(super) fn phase_from(name: &str) -> Result<Phase, Garbled> {
    [
        Phase::Running,
        Phase::Compensating,
        Phase::Completed,
        Phase::Compensated,
        Phase::Resolved,
    ]
    .into_iter()
    .find(|phase| phase.name() == name)
    .ok_or_else(|| garbled("a phase", name))
}

/// Reads a reason by its name.
pub(super) fn reason_from(name: &str) -> Result<Reason, Garbled> {
    [
        Reason::Refused,
        Reason::Timeout,
        Reason::Cancelled,
        Reason::Operator,
        Reason::Exhausted,
    ]
    .into_iter()
    .find(|reason| reason.name() == name)
    .ok_or_else(|| garbled("a reason", name))
}

/// Splits the deadline's clock into its two columns.
pub(super) fn clock_columns(clock: Clock) -> (Option<DateTime<Utc>>, Option<i64>) {
    match clock {
        Clock::Running { until } => (Some(timestamp(until)), None),
        Clock::Stopped { left_ms } => (None, Some(i64::try_from(left_ms).unwrap_or(i64::MAX))),
    }
}

pub(super) fn clock_from(deadline_at: Option<DateTime<Utc>>, left_ms: Option<i64>) -> Result<Clock, Garbled> {
    match (deadline_at, left_ms) {
        (Some(until), None) => Ok(Clock::Running { until: millis(until) }),
        (None, Some(left)) => Ok(Clock::Stopped {
            left_ms: u64::try_from(left).unwrap_or(0),
        }),
        (at, left) => Err(garbled("a deadline", format!("{at:?}, {left:?}"))),
    }
}

/// The columns of one event that depend on its kind.
#[derive(Debug, Default)]
pub(super) struct EventColumns<'a> {
    pub(super) kind: &'static str,
    pub(super) step: Option<i16>,
    pub(super) idx: Option<i32>,
    pub(super) op: Option<&'static str>,
    pub(super) attempt: Option<i32>,
    pub(super) class: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    pub(super) next_retry_at: Option<DateTime<Utc>>,
    pub(super) error: Option<String>,
    pub(super) in_flight: Option<String>,
    pub(super) reply: Option<&'a str>,
}

/// Name of the kind of event that [`Event::Ended`] would have; the journal has no such row.
const ENDED: &str = "ended";

impl<'a> EventColumns<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        match event {
            Event::Succeeded { key, attempt, reply } => Self {
                kind: "succeeded",
                reply: Some(reply.json()),
                ..Self::of_attempt(*key, *attempt)
            },
            Event::Refused { key, attempt, error } => Self {
                kind: "refused",
                error: Some(error_json(error)),
                ..Self::of_attempt(*key, *attempt)
            },
            Event::Failed {
                key,
                attempt,
                failure,
            } => Self {
                kind: "failed",
                class: Some(failure.class.name()),
                next_retry_at: failure.next_at.map(timestamp),
                error: Some(error_json(&failure.error)),
                ..Self::of_attempt(*key, *attempt)
            },
            Event::Pending { key, attempt } => Self {
                kind: "pending",
                ..Self::of_attempt(*key, *attempt)
            },
            Event::Abandoned { key } => Self {
                kind: "abandoned",
                ..Self::of_operation(*key)
            },
            Event::Skipped { key } => Self {
                kind: "skipped",
                ..Self::of_operation(*key)
            },
            Event::LateSuccess { key, reply } => Self {
                kind: "late_success",
                reply: Some(reply.json()),
                ..Self::of_operation(*key)
            },
            Event::Operator { action, key, .. } => Self {
                kind: "operator",
                reason: Some(action.name()),
                ..key.map_or_else(Self::default, Self::of_operation)
            },
            Event::Unwinding {
                reason,
                failed_step,
                error,
                in_flight,
            } => Self {
                kind: "unwinding",
                reason: Some(reason.name()),
                step: failed_step.map(position),
                error: error.as_ref().map(error_json),
                in_flight: (!in_flight.is_empty()).then(|| in_flight_json(in_flight)),
                ..Self::default()
            },
            Event::Committed => Self {
                kind: "committed",
                ..Self::default()
            },
            Event::DeadlineMissed => Self {
                kind: "deadline_missed",
                ..Self::default()
            },
            Event::Ended { .. } => Self {
                kind: ENDED,
                ..Self::default()
            },
        }
    }

    fn of_operation(key: OpKey) -> Self {
        Self {
            step: Some(position(key.step)),
            idx: Some(i32::try_from(key.index).unwrap_or(i32::MAX)),
            op: Some(op_name(key.op)),
            ..Self::default()
        }
    }

    fn of_attempt(key: OpKey, attempt: u32) -> Self {
        Self {
            attempt: Some(i32::try_from(attempt).unwrap_or(i32::MAX)),
            ..Self::of_operation(key)
        }
    }
}

/// Converts a position for the database. A plan has at most 1,000 steps.
pub(super) fn position(step: u16) -> i16 {
    i16::try_from(step).unwrap_or(i16::MAX)
}

/// Converts a position from the database.
pub(super) fn position_from(step: i16) -> Result<u16, Garbled> {
    u16::try_from(step).map_err(|_| garbled("a step", step.to_string()))
}

fn op_name(op: Op) -> &'static str {
    match op {
        Op::Action => "action",
        Op::Compensation => "compensation",
    }
}

/// An event as stored, without what only people read.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct EventRow {
    pub(super) saga_id: uuid::Uuid,
    pub(super) seq: i32,
    pub(super) at: DateTime<Utc>,
    kind: String,
    step: Option<i16>,
    idx: Option<i32>,
    op: Option<String>,
    attempt: Option<i32>,
    class: Option<String>,
    reason: Option<String>,
    next_retry_at: Option<DateTime<Utc>>,
    error: Option<String>,
    in_flight: Option<String>,
    reply: Option<String>,
    actor: Option<String>,
}

impl EventRow {
    pub(super) fn recorded(self) -> Result<Recorded, Garbled> {
        let event = match self.kind.as_str() {
            "succeeded" => Event::Succeeded {
                key: self.key()?,
                attempt: self.attempt()?,
                reply: Payload::new(self.reply.ok_or_else(|| garbled("a success", "no reply"))?),
            },
            "refused" => Event::Refused {
                key: self.key()?,
                attempt: self.attempt()?,
                error: self.error()?.ok_or_else(|| garbled("a refusal", "no error"))?,
            },
            "failed" => Event::Failed {
                key: self.key()?,
                attempt: self.attempt()?,
                failure: Failure {
                    class: self.class()?,
                    error: self.error()?.ok_or_else(|| garbled("a failure", "no error"))?,
                    next_at: self.next_retry_at.map(millis),
                },
            },
            "pending" => Event::Pending {
                key: self.key()?,
                attempt: self.attempt()?,
            },
            "abandoned" => Event::Abandoned { key: self.key()? },
            "unwinding" => Event::Unwinding {
                reason: reason_from(self.reason.as_deref().unwrap_or_default())?,
                failed_step: self.step.map(position_from).transpose()?,
                error: self.error()?,
                in_flight: self.in_flight.as_deref().map_or(Ok(Vec::new()), in_flight_from)?,
            },
            "committed" => Event::Committed,
            "deadline_missed" => Event::DeadlineMissed,
            unknown => return Err(garbled("an event", unknown)),
        };
        let actor = self.actor.map(Arc::from);
        Ok(Recorded::new(millis(self.at), actor, event))
    }

    fn key(&self) -> Result<OpKey, Garbled> {
        let op = match self.op.as_deref() {
            Some("action") => Op::Action,
            Some("compensation") => Op::Compensation,
            other => return Err(garbled("an operation", other.unwrap_or_default())),
        };
        let step = self.step.ok_or_else(|| garbled("an operation", "no step"))?;
        Ok(OpKey {
            step: position_from(step)?,
            index: self.idx.and_then(|i| u32::try_from(i).ok()).unwrap_or(0),
            op,
        })
    }

    fn attempt(&self) -> Result<u32, Garbled> {
        self.attempt
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| garbled("an attempt", format!("{:?}", self.attempt)))
    }

    fn class(&self) -> Result<FailureClass, Garbled> {
        let name = self.class.as_deref().unwrap_or_default();
        FailureClass::from_name(name).ok_or_else(|| garbled("a class of failure", name))
    }

    fn error(&self) -> Result<Option<StepError>, Garbled> {
        self.error.as_deref().map(error_from).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_phases_and_reasons_are_read_back() {
        for phase in [
            Phase::Running,
            Phase::Compensating,
            Phase::Completed,
            Phase::Compensated,
            Phase::Resolved,
        ] {
            assert_eq!(phase_from(phase.name()).unwrap(), phase);
        }
        for reason in [
            Reason::Refused,
            Reason::Timeout,
            Reason::Cancelled,
            Reason::Operator,
            Reason::Exhausted,
        ] {
            assert_eq!(reason_from(reason.name()).unwrap(), reason);
        }
        assert!(phase_from("DONE").is_err());
    }

    #[test]
    fn an_instant_far_away_is_kept_as_the_last_one() {
        assert_eq!(rfc3339(Millis(i64::MAX)), "9999-12-31T00:00:00.000Z");
        assert_eq!(
            millis(timestamp(Millis(1_700_000_000_123))),
            Millis(1_700_000_000_123)
        );
    }

    #[test]
    fn attention_is_read_back_and_its_note_left_out() {
        let since = Millis(1_700_000_000_123);
        let attention = vec![Attention {
            cause: Cause::Unreachable,
            step: Some(3),
            since,
        }];
        assert_eq!(attention_from(&attention_json(&attention)).unwrap(), attention);
        let parked = attention_from(&parked_json(since, "a\0panic")).unwrap();
        assert_eq!(parked[0].cause, Cause::Quarantined);
    }

    #[test]
    fn nul_in_an_error_becomes_a_replacement_character() {
        let error = StepError {
            code: "INTERNAL".into(),
            reason: "".into(),
            domain: "".into(),
            message: "a\0b".into(),
        };
        assert_eq!(&*error_from(&error_json(&error)).unwrap().message, "a\u{fffd}b");
    }
}
