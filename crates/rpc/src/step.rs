//! The metadata of a step call, and what a participant may answer besides its reply.
//!
//! A step is an ordinary gRPC method. What makes it a step is the metadata that comes with the call:
//!
//! | header | meaning |
//! |---|---|
//! | `evenkeel-saga-id` | the saga, `saga_<32 hex digits>` |
//! | `evenkeel-step` | name of the step |
//! | `evenkeel-index` | index of a fanned-out step, else 0 |
//! | `evenkeel-op` | `action` or `compensation` |
//! | `evenkeel-attempt` | number of the attempt, from 1; rises only after a recorded failure |
//! | `evenkeel-epoch` | epoch of the orchestrator instance; rises when it restarts or is taken over |
//! | `evenkeel-refusable` | `true` if a definite "no" is an answer the saga can act on |
//! | `evenkeel-completion-token` | for a step that awaits a token: what `CompletionService` takes with the final answer |
//!
//! (saga, step, index, op) is the idempotency key: it is the same for all attempts. `grpc-timeout` and `traceparent`
//! come along. In its answer a participant may set the headers [`PENDING_HEADER`] and [`BARRIER_HEADER`].

use std::str::FromStr;
use std::time::Duration;

use ids::SagaId;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::error::Reason;

/// Header of an OK answer that is not final: ask again in this many milliseconds. The message is then ignored.
pub const PENDING_HEADER: &str = "evenkeel-pending-ms";
/// Header of an answer that the participant's barrier has stored, so that repeating it cannot change it.
/// Value `stored`. On an error it marks a refusal as definite.
pub const BARRIER_HEADER: &str = "evenkeel-barrier";
/// Value of [`BARRIER_HEADER`].
pub const BARRIER_STORED: &str = "stored";
/// Header of a step call whose final answer may also come through `CompletionService`; opaque, at most 512 characters.
pub const COMPLETION_TOKEN_HEADER: &str = "evenkeel-completion-token";
/// Header that names who acts, for the history: a person or a service. Free text, at most 128 characters.
pub const ACTOR_HEADER: &str = "evenkeel-actor";

const SAGA_ID: &str = "evenkeel-saga-id";
const STEP: &str = "evenkeel-step";
const INDEX: &str = "evenkeel-index";
const OP: &str = "evenkeel-op";
const ATTEMPT: &str = "evenkeel-attempt";
const EPOCH: &str = "evenkeel-epoch";
const REFUSABLE: &str = "evenkeel-refusable";

/// Longest step name that is accepted, in bytes.
pub const MAX_STEP_NAME_BYTES: usize = 64;

/// Which operation of a step is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// The step's own work.
    Action,
    /// Undoing it.
    Compensation,
}

impl Op {
    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
        }
    }
}

impl FromStr for Op {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "action" => Ok(Self::Action),
            "compensation" => Ok(Self::Compensation),
            _ => Err(()),
        }
    }
}

/// Who calls, and for what: the metadata of one step call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepCall {
    /// The saga.
    pub saga_id: SagaId,
    /// Name of the step, 1 to [`MAX_STEP_NAME_BYTES`] bytes of `A-Z`, `0-9`, `_`.
    pub step: String,
    /// Index of a fanned-out step; 0 otherwise.
    pub index: u32,
    /// Action or compensation.
    pub op: Op,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Epoch of the calling orchestrator instance.
    pub epoch: u64,
    /// Whether a definite "no" is an answer the saga can act on. False for compensations and for steps after the
    /// commit point: a "no" is then answered but never stored, and the call comes again.
    pub refusable: bool,
}

impl StepCall {
    /// Writes the call into request metadata.
    pub fn write(&self, metadata: &mut MetadataMap) {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(name, value);
            }
        };
        put(SAGA_ID, &self.saga_id.to_string());
        put(STEP, &self.step);
        put(INDEX, &self.index.to_string());
        put(OP, self.op.name());
        put(ATTEMPT, &self.attempt.to_string());
        put(EPOCH, &self.epoch.to_string());
        put(REFUSABLE, if self.refusable { "true" } else { "false" });
    }

    /// Reads a call from request metadata.
    ///
    /// # Errors
    /// `STEP_METADATA_INVALID`, naming the header, if one is absent or malformed. `evenkeel-index` defaults to 0,
    /// `evenkeel-attempt` to 1, `evenkeel-epoch` to 0, and `evenkeel-refusable` to true for actions only.
    pub fn read(metadata: &MetadataMap, domain: &str) -> Result<Self, Status> {
        let wrong = |name: &str, what: &str| {
            Reason::StepMetadataInvalid.status(domain, format!("header {name} {what}"))
        };
        let text = |name: &'static str| -> Result<Option<&str>, Status> {
            metadata
                .get(name)
                .map(|v| v.to_str().map_err(|_| wrong(name, "is not ASCII text")))
                .transpose()
        };
        let needed = |name| text(name)?.ok_or_else(|| wrong(name, "is missing"));

        let saga_id = needed(SAGA_ID)?
            .parse()
            .map_err(|e: ids::ParseIdError| wrong(SAGA_ID, &e.to_string()))?;
        let step = needed(STEP)?;
        let name_ok = (1..=MAX_STEP_NAME_BYTES).contains(&step.len())
            && step
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if !name_ok {
            return Err(wrong(STEP, "must be 1 to 64 of A-Z, 0-9 and _"));
        }
        let op = needed(OP)?
            .parse()
            .map_err(|()| wrong(OP, "must be action or compensation"))?;
        let index = number(text(INDEX)?, 0).ok_or_else(|| wrong(INDEX, "must be a number"))?;
        let attempt = number(text(ATTEMPT)?, 1).ok_or_else(|| wrong(ATTEMPT, "must be a number"))?;
        let epoch = number(text(EPOCH)?, 0).ok_or_else(|| wrong(EPOCH, "must be a number"))?;
        let refusable = match text(REFUSABLE)? {
            None => op == Op::Action,
            Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(wrong(REFUSABLE, "must be true or false")),
        };
        Ok(Self {
            saga_id,
            step: step.to_owned(),
            index,
            op,
            attempt,
            epoch,
            refusable,
        })
    }
}

fn number<T: FromStr>(text: Option<&str>, default: T) -> Option<T> {
    text.map_or(Some(default), |t| t.parse().ok())
}

/// Marks an OK answer as "not yet, ask again".
pub fn set_pending(metadata: &mut MetadataMap, ask_again: Duration) {
    let millis = u64::try_from(ask_again.as_millis()).unwrap_or(u64::MAX);
    metadata.insert(PENDING_HEADER, MetadataValue::from(millis));
}

/// Reads "not yet, ask again" from the headers of an OK answer.
///
/// A malformed value counts as one second: the answer is certainly not final, and asking again is always safe.
#[must_use]
pub fn pending(metadata: &MetadataMap) -> Option<Duration> {
    let value = metadata.get(PENDING_HEADER)?;
    let millis = value.to_str().ok().and_then(|t| t.parse().ok()).unwrap_or(1_000);
    Some(Duration::from_millis(millis))
}

/// Marks an answer as stored behind a barrier.
pub fn set_stored(metadata: &mut MetadataMap) {
    metadata.insert(BARRIER_HEADER, MetadataValue::from_static(BARRIER_STORED));
}

/// Tells whether an answer is stored behind a barrier.
#[must_use]
pub fn is_stored(metadata: &MetadataMap) -> bool {
    metadata
        .get(BARRIER_HEADER)
        .is_some_and(|v| v.as_bytes() == BARRIER_STORED.as_bytes())
}

/// Reads who acts, for the history; `unknown` if the caller does not say. Cut to 128 characters.
#[must_use]
pub fn actor(metadata: &MetadataMap) -> String {
    metadata
        .get(ACTOR_HEADER)
        .and_then(|v| v.to_str().ok())
        .filter(|t| !t.is_empty())
        .map_or_else(|| "unknown".to_owned(), |t| t.chars().take(128).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call() -> StepCall {
        StepCall {
            saga_id: SagaId::new(),
            step: "RESERVE_QUOTA".to_owned(),
            index: 3,
            op: Op::Compensation,
            attempt: 2,
            epoch: 7,
            refusable: false,
        }
    }

    #[test]
    fn a_call_survives_the_wire() {
        let call = call();
        let mut metadata = MetadataMap::new();
        call.write(&mut metadata);
        assert_eq!(StepCall::read(&metadata, "test.evenkeel").unwrap(), call);
    }

    #[test]
    fn a_missing_header_is_named() {
        let mut metadata = MetadataMap::new();
        call().write(&mut metadata);
        metadata.remove("evenkeel-step");
        let status = StepCall::read(&metadata, "test.evenkeel").unwrap_err();
        assert_eq!(
            crate::error::info(&status).unwrap().reason,
            "STEP_METADATA_INVALID"
        );
        assert_eq!(status.message(), "header evenkeel-step is missing");
    }

    #[test]
    fn only_actions_are_refusable_by_default() {
        for (op, refusable) in [("action", true), ("compensation", false)] {
            let mut metadata = MetadataMap::new();
            call().write(&mut metadata);
            metadata.remove("evenkeel-refusable");
            metadata.insert("evenkeel-op", op.parse().unwrap());
            assert_eq!(StepCall::read(&metadata, "t").unwrap().refusable, refusable);
        }
    }

    #[test]
    fn a_malformed_pending_header_still_means_not_final() {
        let mut metadata = MetadataMap::new();
        assert_eq!(pending(&metadata), None);
        metadata.insert(PENDING_HEADER, "soon".parse().unwrap());
        assert_eq!(pending(&metadata), Some(Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn no_metadata_makes_the_reader_panic(
            name in prop::sample::select(vec![SAGA_ID, STEP, INDEX, OP, ATTEMPT, EPOCH, REFUSABLE]),
            value in prop::collection::vec(32u8..255, 0..80),
        ) {
            let mut metadata = MetadataMap::new();
            call().write(&mut metadata);
            if let Ok(value) = MetadataValue::try_from(value.as_slice()) {
                metadata.insert(name, value);
            }
            let _ = StepCall::read(&metadata, "t");
            let _ = actor(&metadata);
        }
    }
}
