//! From a gRPC answer to what the engine understands.

use std::sync::Arc;

use prost_reflect::DynamicMessage;
use rpc::error::code_name;
use rpc::outcome::{Verdict, classify};
use rpc::step;
use saga_core::{FailureClass, Outcome, Payload, StepError};
use saga_engine::CallResult;
use tonic::{Code, Response, Status};

use crate::DOMAIN;
use crate::participants::codec::is_bad_reply;

/// Longest text of a participant that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 1_000;
/// Longest reason or domain that is kept, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// A participant cannot put us off for longer than this, in milliseconds.
const MAX_PENDING_MS: u64 = 60 * 60 * 1_000;

/// Reads an OK answer.
pub(crate) fn of_reply(response: Response<DynamicMessage>) -> CallResult {
    if let Some(wait) = step::pending(response.metadata()) {
        let asked_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        return CallResult::Pending {
            ask_again_ms: asked_ms.clamp(1, MAX_PENDING_MS),
        };
    }
    let reply = response.into_inner();
    match saga_definition::encode_json(&reply) {
        Ok(json) => CallResult::Outcome(Outcome::Succeeded(Payload::with_decoded(json, Arc::new(reply)))),
        Err(error) => bad_reply(&error.to_string()),
    }
}

/// Reads a status that is not OK, of a participant whose reasons live in `error_domain`.
pub(crate) fn of_status(status: &Status, error_domain: &str) -> CallResult {
    if is_bad_reply(status) {
        return bad_reply(status.message());
    }
    let failed = |class| {
        CallResult::Outcome(Outcome::Failed {
            class,
            error: step_error(status),
        })
    };
    match classify(status, error_domain) {
        Verdict::Refused { stored } => CallResult::Outcome(Outcome::Refused {
            error: step_error(status),
            stored,
        }),
        Verdict::Superseded => CallResult::Superseded,
        Verdict::Unknown => failed(FailureClass::Unknown),
        Verdict::Unsent => failed(FailureClass::Unsent),
        Verdict::Misconfigured => failed(FailureClass::Misconfigured),
    }
}

/// Reads what a probe met: as for the action itself, except that the participant may never have seen the operation.
pub(crate) fn of_probe(status: &Status, error_domain: &str) -> CallResult {
    let own = rpc::error::info(status).is_some_and(|info| info.domain == error_domain);
    if own && status.code() == Code::NotFound {
        return CallResult::Outcome(Outcome::NotSeen);
    }
    of_status(status, error_domain)
}

/// The participant has not answered in time.
pub(crate) fn timed_out(timeout_ms: u64) -> CallResult {
    failed(
        FailureClass::Unknown,
        own_error(
            "DEADLINE_EXCEEDED",
            "",
            &format!("no answer within {timeout_ms} ms"),
        ),
    )
}

/// No participant is configured for the method any more.
pub(crate) fn no_participant(service: &str) -> CallResult {
    let message = format!("no configured participant answers for {service}");
    failed(
        FailureClass::Misconfigured,
        own_error("UNIMPLEMENTED", "PARTICIPANT_UNKNOWN", &message),
    )
}

/// The definition could not be loaded, so nothing was sent.
pub(crate) fn no_definition(message: &str) -> CallResult {
    failed(
        FailureClass::Unsent,
        own_error("UNAVAILABLE", "DEFINITION_UNAVAILABLE", message),
    )
}

/// The outbox did not take a message. Whether it did after all makes no difference, since the message would be the same:
/// so nothing has happened that trying again could double.
pub(crate) fn outbox_away(message: &str) -> CallResult {
    failed(
        FailureClass::Unsent,
        own_error("UNAVAILABLE", "OUTBOX_UNAVAILABLE", message),
    )
}

/// No request can be made from what the saga holds. It never could: the sources do not change.
pub(crate) fn unmappable(message: &str, refusable: bool) -> CallResult {
    let error = own_error("FAILED_PRECONDITION", "MAPPING_FAILED", message);
    if refusable {
        // Nothing was ever sent for this operation, which is as definite as a barrier's word.
        return CallResult::Outcome(Outcome::Refused { error, stored: true });
    }
    failed(FailureClass::Misconfigured, error)
}

fn bad_reply(message: &str) -> CallResult {
    failed(FailureClass::Unknown, own_error("INTERNAL", "BAD_REPLY", message))
}

fn failed(class: FailureClass, error: StepError) -> CallResult {
    CallResult::Outcome(Outcome::Failed { class, error })
}

fn own_error(code: &'static str, reason: &'static str, message: &str) -> StepError {
    let domain = if reason.is_empty() { "" } else { DOMAIN };
    StepError {
        code: code.into(),
        reason: reason.into(),
        domain: domain.into(),
        message: clip(message, MAX_MESSAGE_BYTES).into(),
    }
}

fn step_error(status: &Status) -> StepError {
    // A timeout that the client library noticed first arrives as CANCELLED.
    let timed_out = status.code() == Code::Cancelled && status.message() == "Timeout expired";
    let code = if timed_out {
        Code::DeadlineExceeded
    } else {
        status.code()
    };
    let info = rpc::error::info(status);
    let (reason, domain) = info.map_or_else(Default::default, |i| (i.reason, i.domain));
    StepError {
        code: code_name(code).into(),
        reason: clip(&reason, MAX_NAME_BYTES).into(),
        domain: clip(&domain, MAX_NAME_BYTES).into(),
        message: clip(status.message(), MAX_MESSAGE_BYTES).into(),
    }
}

/// Cuts at a character's border. A NUL cannot be stored as text in Postgres; it ends the text.
fn clip(text: &str, max_bytes: usize) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    if text.len() <= max_bytes {
        return text;
    }
    let end = (0..=max_bytes)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_expired_deadline_is_unknown_and_says_so() {
        let CallResult::Outcome(Outcome::Failed { class, error }) =
            of_status(&Status::cancelled("Timeout expired"), "t")
        else {
            panic!("not a failure");
        };
        assert_eq!(
            (class, &*error.code),
            (FailureClass::Unknown, "DEADLINE_EXCEEDED")
        );
    }

    #[test]
    fn only_the_participant_itself_can_say_that_it_never_saw_an_operation() {
        let not_found = |domain| rpc::error::Reason::TaskNotFound.status(domain, "never seen");
        let not_seen = |result| matches!(result, CallResult::Outcome(Outcome::NotSeen));
        assert!(not_seen(of_probe(&not_found("t"), "t")));
        assert!(!not_seen(of_probe(&not_found("proxy"), "t")));
        assert!(!not_seen(of_probe(&Status::not_found("no such route"), "t")));
        assert!(!not_seen(of_status(&not_found("t"), "t")));
    }

    #[test]
    fn a_participant_cannot_put_us_off_for_long() {
        let pool = proto::descriptor_pool();
        let reply = pool
            .get_message_by_name("evenkeel.bench.v1.WorkResponse")
            .unwrap();
        for (given, expected) in [
            ("0", 1),
            ("250", 250),
            ("999999999", MAX_PENDING_MS),
            ("x", 1_000),
        ] {
            let mut response = Response::new(DynamicMessage::new(reply.clone()));
            response
                .metadata_mut()
                .insert(step::PENDING_HEADER, given.parse().unwrap());
            let CallResult::Pending { ask_again_ms } = of_reply(response) else {
                panic!("not pending")
            };
            assert_eq!(ask_again_ms, expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn clipping_keeps_a_prefix_that_can_be_stored(text in "\\PC{0,20}\0?\\PC{0,20}", max in 0usize..50) {
            let clipped = clip(&text, max);
            prop_assert!(clipped.len() <= max && text.starts_with(clipped) && !clipped.contains('\0'));
        }
    }
}
