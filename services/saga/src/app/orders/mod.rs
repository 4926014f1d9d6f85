//! What operators ask for, read from their requests as far as that goes without looking at the saga.

mod requests;

use ids::SagaId;
use proto::saga::v1 as pb;
use saga_core::Op;

use crate::app::{Caller, Error, read};

/// Longest reason, in characters.
const MAX_NOTE_CHARS: usize = 500;
/// Longest evidence, in characters.
const MAX_EVIDENCE_CHARS: usize = 2_000;

/// An operator's request about one saga.
pub(crate) trait OperatorRequest: prost::Message + Clone + Default + 'static {
    /// gRPC path of the method, for passing it on.
    const PATH: &'static str;
    /// What the method answers.
    type Response: prost::Message + Default + 'static;

    /// Reads the request.
    ///
    /// # Errors
    /// The first field that is absent, malformed or out of range.
    fn order(&self) -> Result<Order, Error>;

    /// Makes the answer.
    fn response(saga: pb::Saga) -> Self::Response;
}

/// What is to be done to which saga, why, and on which state it was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) saga: SagaId,
    pub(crate) note: String,
    /// Empty where the action needs none.
    pub(crate) evidence: String,
    pub(crate) expected_version: u32,
    pub(crate) what: What,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    RetryNow(Option<Target>),
    ResolveSucceeded { target: Target, reply_json: String },
    ResolveFailed(Target),
    Skip(Target),
    Compensate,
    Resolve,
    Pause,
    Resume,
    Release,
    Acknowledge,
}

/// An operation as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) step: String,
    pub(crate) index: u32,
    pub(crate) op: Op,
}

/// Returns who acts; an operator's action without a name would be worth nothing in the audit.
pub(crate) fn named_actor(caller: &Caller) -> Result<&str, Error> {
    caller.named.then_some(caller.actor.as_str()).ok_or_else(|| {
        Error::invalid(
            rpc::step::ACTOR_HEADER,
            "is missing from the metadata; an operator's action says who did it",
        )
    })
}

/// Checks a text that is kept for ever: there, not blank, not long, and storable.
pub(crate) fn text(field: &'static str, given: &str, max_chars: usize) -> Result<String, Error> {
    let chars = given.chars().take(max_chars + 1).count();
    if given.trim().is_empty() || chars > max_chars {
        return Err(Error::invalid(
            field,
            format!("must have 1 to {max_chars} characters"),
        ));
    }
    if given.contains('\0') {
        return Err(Error::invalid(field, "must not hold NUL"));
    }
    Ok(given.to_owned())
}

/// Checks why something is done.
pub(crate) fn note(given: &str) -> Result<String, Error> {
    text("reason", given, MAX_NOTE_CHARS)
}

fn evidence(given: &str) -> Result<String, Error> {
    text("evidence", given, MAX_EVIDENCE_CHARS)
}

fn order(saga_id: &str, reason: &str, expected_version: Option<u32>, what: What) -> Result<Order, Error> {
    Ok(Order {
        saga: read::parse_id(saga_id)?,
        note: note(reason)?,
        evidence: String::new(),
        expected_version: expected_version.ok_or_else(|| {
            Error::invalid(
                "expected_version",
                "is missing; give the state_version on which this was decided",
            )
        })?,
        what,
    })
}

fn target(step: &str, index: u32, op: &str, default: Op) -> Result<Target, Error> {
    if step.is_empty() {
        return Err(Error::invalid("step", "must name a step"));
    }
    let op = match op {
        "" => default,
        "action" => Op::Action,
        "compensation" => Op::Compensation,
        _ => return Err(Error::invalid("op", "must be action or compensation")),
    };
    Ok(Target {
        step: step.to_owned(),
        index,
        op,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip() -> pb::SkipStepRequest {
        pb::SkipStepRequest {
            saga_id: SagaId::new().to_string(),
            reason: "done by hand".to_owned(),
            expected_version: Some(0),
            step: "LAST".to_owned(),
            evidence: "ticket 7".to_owned(),
            ..pb::SkipStepRequest::default()
        }
    }

    #[test]
    fn skipping_means_the_compensation_unless_said_otherwise() {
        let target = |op: &str| {
            let request = pb::SkipStepRequest {
                op: op.to_owned(),
                ..skip()
            };
            request.order().unwrap().what.target().unwrap().op
        };
        assert_eq!(
            [target(""), target("action"), target("compensation")],
            [Op::Compensation, Op::Action, Op::Compensation]
        );
    }

    #[test]
    fn version_zero_is_a_version_and_no_version_is_none() {
        assert_eq!(skip().order().unwrap().expected_version, 0);
        let without = pb::SkipStepRequest {
            expected_version: None,
            ..skip()
        };
        assert!(matches!(
            without.order(),
            Err(Error::Invalid {
                field: "expected_version",
                ..
            })
        ));
    }

    #[test]
    fn each_mistake_names_its_field() {
        let long = |chars| "x".repeat(chars);
        let cases = [
            (
                "reason",
                pb::SkipStepRequest {
                    reason: String::new(),
                    ..skip()
                },
            ),
            (
                "reason",
                pb::SkipStepRequest {
                    reason: " \n".to_owned(),
                    ..skip()
                },
            ),
            (
                "reason",
                pb::SkipStepRequest {
                    reason: long(501),
                    ..skip()
                },
            ),
            (
                "reason",
                pb::SkipStepRequest {
                    reason: "a\0".to_owned(),
                    ..skip()
                },
            ),
            (
                "evidence",
                pb::SkipStepRequest {
                    evidence: String::new(),
                    ..skip()
                },
            ),
            (
                "evidence",
                pb::SkipStepRequest {
                    evidence: long(2_001),
                    ..skip()
                },
            ),
            (
                "step",
                pb::SkipStepRequest {
                    step: String::new(),
                    ..skip()
                },
            ),
            (
                "op",
                pb::SkipStepRequest {
                    op: "undo".to_owned(),
                    ..skip()
                },
            ),
        ];
        for (wanted, request) in cases {
            match request.order() {
                Err(Error::Invalid { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
        let lengths = pb::SkipStepRequest {
            reason: "理".repeat(500),
            evidence: "据".repeat(2_000),
            ..skip()
        };
        assert!(lengths.order().is_ok());
    }

    #[test]
    fn every_operation_or_one_but_not_half_of_one() {
        let request = |step: &str, index, op: &str| pb::RetryNowRequest {
            saga_id: SagaId::new().to_string(),
            reason: "now".to_owned(),
            expected_version: Some(1),
            step: step.to_owned(),
            index,
            op: op.to_owned(),
        };
        assert_eq!(request("", 0, "").order().unwrap().what, What::RetryNow(None));
        assert!(request("", 1, "").order().is_err());
        assert!(request("", 0, "action").order().is_err());
        assert!(matches!(
            request("ONE", 1, "compensation").order().unwrap().what,
            What::RetryNow(Some(Target {
                index: 1,
                op: Op::Compensation,
                ..
            }))
        ));
    }
}
