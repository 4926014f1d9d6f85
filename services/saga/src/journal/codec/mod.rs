//! Values of the state machine as the journal keeps them, and back.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use saga_core::{Attention, Cause, Clock, Millis, Op, OpKey, Phase, Reason, StepError};
use serde::{Deserialize, Serialize};

mod event;

pub(super) use event::{EventColumns, EventRow, event_columns};

/// The highest format of rows and events that this program reads.
pub(super) const FORMAT: i16 = 2;
/// The format of a saga without anything that came later.
pub(super) const FIRST_FORMAT: i16 = 1;

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

/// Why a saga was parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// When.
    pub since: Millis,
    /// What happened, for people.
    pub why: String,
}

/// Reads why a saga was parked, if the entry that says so is there.
pub(super) fn parked_from(json: &str) -> Result<Option<Quarantine>, Garbled> {
    let all: Vec<AttentionJson<'_>> = from_json("attention", json)?;
    let parked = all.into_iter().find(|a| a.cause == Cause::Quarantined.name());
    Ok(parked.map(|parked| Quarantine {
        since: millis(parked.since),
        why: parked.note.unwrap_or_default().into_owned(),
    }))
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

/// What an operator said about an action.
#[derive(Serialize, Deserialize)]
struct OperatorJson<'a> {
    note: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    evidence: Cow<'a, str>,
}

pub(super) fn operator_json(note: &str, evidence: &str) -> String {
    to_json(&OperatorJson {
        note: readable(note),
        evidence: readable(evidence),
    })
}

fn operator_from(json: &str) -> Result<(String, String), Garbled> {
    let said: OperatorJson<'_> = from_json("what an operator said", json)?;
    Ok((said.note.into_owned(), said.evidence.into_owned()))
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

/// Converts a position for the database. A plan has at most 1,000 steps.
pub(super) fn position(step: u16) -> i16 {
    i16::try_from(step).unwrap_or(i16::MAX)
}

pub(super) fn op_from(name: &str) -> Result<Op, Garbled> {
    match name {
        "action" => Ok(Op::Action),
        "compensation" => Ok(Op::Compensation),
        other => Err(garbled("an operation", other)),
    }
}

/// Converts a position from the database.
pub(super) fn position_from(step: i16) -> Result<u16, Garbled> {
    u16::try_from(step).map_err(|_| garbled("a step", step.to_string()))
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
        let parked = parked_json(since, "a\0panic");
        assert_eq!(attention_from(&parked).unwrap()[0].cause, Cause::Quarantined);
        let why = "a\u{fffd}panic".to_owned();
        assert_eq!(parked_from(&parked).unwrap(), Some(Quarantine { since, why }));
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
