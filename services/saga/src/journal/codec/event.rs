//! Events as rows, and back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use saga_core::{Event, Failure, FailureClass, Op, OpKey, OperatorAction, Payload, Recorded, StepError};

use super::{
    FIRST_FORMAT, FORMAT, Garbled, error_from, error_json, garbled, in_flight_from, in_flight_json, millis,
    op_from, operator_from, operator_json, position, position_from, reason_from, timestamp,
};

/// The columns of one event that depend on its kind.
#[derive(Debug, Default)]
pub(in crate::journal) struct EventColumns<'a> {
    pub(in crate::journal) kind: &'static str,
    pub(in crate::journal) step: Option<i16>,
    pub(in crate::journal) idx: Option<i32>,
    pub(in crate::journal) op: Option<&'static str>,
    pub(in crate::journal) attempt: Option<i32>,
    pub(in crate::journal) class: Option<&'static str>,
    pub(in crate::journal) reason: Option<&'static str>,
    pub(in crate::journal) next_retry_at: Option<DateTime<Utc>>,
    pub(in crate::journal) error: Option<String>,
    pub(in crate::journal) in_flight: Option<String>,
    pub(in crate::journal) reply: Option<&'a str>,
    pub(in crate::journal) operator: Option<String>,
}

/// Name of the kind of event that [`Event::Ended`] would have; the journal has no such row.
const ENDED: &str = "ended";

impl<'a> EventColumns<'a> {
    pub(in crate::journal) fn of(event: &'a Event) -> Self {
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
            Event::Operator {
                action,
                key,
                note,
                evidence,
            } => Self {
                kind: "operator",
                class: Some(action.name()),
                operator: Some(operator_json(note, evidence)),
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

    /// Returns the format that a program must know to read the event.
    pub(in crate::journal) fn format(event: &Event) -> i16 {
        match event {
            Event::Skipped { .. } | Event::LateSuccess { .. } | Event::Operator { .. } => FORMAT,
            Event::Failed { failure, .. } => match failure.class {
                FailureClass::NotSeen => FORMAT,
                FailureClass::Unknown
                | FailureClass::Unsent
                | FailureClass::Misconfigured
                | FailureClass::CannotBeRefused => FIRST_FORMAT,
            },
            Event::Succeeded { .. }
            | Event::Refused { .. }
            | Event::Pending { .. }
            | Event::Abandoned { .. }
            | Event::Unwinding { .. }
            | Event::Committed
            | Event::DeadlineMissed
            | Event::Ended { .. } => FIRST_FORMAT,
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

fn op_name(op: Op) -> &'static str {
    match op {
        Op::Action => "action",
        Op::Compensation => "compensation",
    }
}

/// An event as stored, without what only people read.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::journal) struct EventRow {
    pub(in crate::journal) saga_id: uuid::Uuid,
    pub(in crate::journal) seq: i32,
    pub(in crate::journal) at: DateTime<Utc>,
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
    operator: Option<String>,
}

/// The columns of [`EventRow`].
macro_rules! event_columns {
    () => {
        "saga_id, seq, at, kind, step, idx, op, attempt, class, reason, next_retry_at, error::text as error,
         in_flight::text as in_flight, reply::text as reply, actor, operator::text as operator"
    };
}
pub(in crate::journal) use event_columns;

impl EventRow {
    pub(in crate::journal) fn recorded(self) -> Result<Recorded, Garbled> {
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
            "skipped" => Event::Skipped { key: self.key()? },
            "late_success" => Event::LateSuccess {
                key: self.key()?,
                reply: self
                    .reply
                    .clone()
                    .map(Payload::new)
                    .ok_or_else(|| garbled("a success", "no reply"))?,
            },
            "operator" => self.operator_event()?,
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
        let op = op_from(self.op.as_deref().unwrap_or_default())?;
        let step = self.step.ok_or_else(|| garbled("an operation", "no step"))?;
        Ok(OpKey {
            step: position_from(step)?,
            index: self.idx.and_then(|i| u32::try_from(i).ok()).unwrap_or(0),
            op,
        })
    }

    fn operator_event(&self) -> Result<Event, Garbled> {
        let name = self.class.as_deref().unwrap_or_default();
        let (note, evidence) = operator_from(self.operator.as_deref().unwrap_or_default())?;
        Ok(Event::Operator {
            action: OperatorAction::from_name(name).ok_or_else(|| garbled("an operator's action", name))?,
            key: self.op.as_ref().map(|_| self.key()).transpose()?,
            note: note.into(),
            evidence: evidence.into(),
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
    use proptest::prelude::*;
    use saga_core::{Millis, Phase, Reason};

    use super::*;

    fn stored(recorded: &Recorded) -> EventRow {
        let columns = EventColumns::of(&recorded.event);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        EventRow {
            saga_id: uuid::Uuid::nil(),
            seq: 0,
            at: timestamp(recorded.at),
            kind: columns.kind.to_owned(),
            step: columns.step,
            idx: columns.idx,
            op: owned(columns.op),
            attempt: columns.attempt,
            class: owned(columns.class),
            reason: owned(columns.reason),
            next_retry_at: columns.next_retry_at,
            error: columns.error,
            in_flight: columns.in_flight,
            reply: owned(columns.reply),
            actor: owned(recorded.actor.as_deref()),
            operator: columns.operator,
        }
    }

    /// Text without NUL, which is replaced on the way; see `readable`.
    fn text() -> impl Strategy<Value = Arc<str>> {
        "[^\0]{0,40}".prop_map(Arc::from)
    }

    fn key() -> impl Strategy<Value = OpKey> {
        let op = prop_oneof![Just(Op::Action), Just(Op::Compensation)];
        (0..=1_000_u16, 0..=i32::MAX.unsigned_abs(), op).prop_map(|(step, index, op)| OpKey {
            step,
            index,
            op,
        })
    }

    fn error() -> impl Strategy<Value = StepError> {
        (text(), text(), text(), text()).prop_map(|(code, reason, domain, message)| StepError {
            code,
            reason,
            domain,
            message,
        })
    }

    fn instant() -> impl Strategy<Value = Millis> {
        (0..4_000_000_000_000_i64).prop_map(Millis)
    }

    fn payload() -> impl Strategy<Value = Payload> {
        text().prop_map(|text| Payload::new(serde_json::json!({ "text": &*text }).to_string()))
    }

    fn failure() -> impl Strategy<Value = Failure> {
        let class = prop::sample::select(FailureClass::ALL.to_vec());
        (class, error(), prop::option::of(instant())).prop_map(|(class, error, next_at)| Failure {
            class,
            error,
            next_at,
        })
    }

    fn operator() -> impl Strategy<Value = Event> {
        let action = prop::sample::select(OperatorAction::ALL.to_vec());
        (action, prop::option::of(key()), text(), text()).prop_map(|(action, key, note, evidence)| {
            Event::Operator {
                action,
                key,
                note,
                evidence,
            }
        })
    }

    fn unwinding() -> impl Strategy<Value = Event> {
        let reasons = [
            Reason::Refused,
            Reason::Timeout,
            Reason::Cancelled,
            Reason::Operator,
            Reason::Exhausted,
        ];
        let action = key().prop_map(|key| OpKey {
            op: Op::Action,
            ..key
        });
        (
            prop::sample::select(reasons.to_vec()),
            prop::option::of(0..=1_000_u16),
            prop::option::of(error()),
            prop::collection::vec(action, 0..4),
        )
            .prop_map(|(reason, failed_step, error, in_flight)| Event::Unwinding {
                reason,
                failed_step,
                error,
                in_flight,
            })
    }

    fn event() -> impl Strategy<Value = Event> {
        let attempt = 0..=i32::MAX.unsigned_abs();
        prop_oneof![
            (key(), attempt.clone(), payload()).prop_map(|(key, attempt, reply)| Event::Succeeded {
                key,
                attempt,
                reply
            }),
            (key(), attempt.clone(), error()).prop_map(|(key, attempt, error)| Event::Refused {
                key,
                attempt,
                error
            }),
            (key(), attempt.clone(), failure()).prop_map(|(key, attempt, failure)| Event::Failed {
                key,
                attempt,
                failure
            }),
            (key(), attempt).prop_map(|(key, attempt)| Event::Pending { key, attempt }),
            key().prop_map(|key| Event::Abandoned { key }),
            key().prop_map(|key| Event::Skipped { key }),
            (key(), payload()).prop_map(|(key, reply)| Event::LateSuccess { key, reply }),
            operator(),
            unwinding(),
            Just(Event::Committed),
            Just(Event::DeadlineMissed),
        ]
    }

    proptest! {
        #[test]
        fn every_event_is_read_back_as_it_was_written(at in instant(), actor in prop::option::of(text()), event in event()) {
            let recorded = Recorded::new(at, actor, event);
            prop_assert_eq!(stored(&recorded).recorded().unwrap(), recorded);
        }
    }

    #[test]
    fn the_end_is_no_row_that_can_be_read() {
        let ended = Recorded::new(
            Millis(0),
            None,
            Event::Ended {
                phase: Phase::Completed,
            },
        );
        assert!(stored(&ended).recorded().is_err());
    }

    #[test]
    fn what_an_operator_says_may_contain_nul() {
        let note = Event::Operator {
            action: OperatorAction::Resolve,
            key: None,
            note: "a\0b".into(),
            evidence: "".into(),
        };
        let read = stored(&Recorded::new(Millis(0), None, note)).recorded().unwrap();
        assert!(matches!(read.event, Event::Operator { note, .. } if &*note == "a\u{fffd}b"));
    }
}
