//! How one operation is shown: from its state, and from what the journal knows besides.

use std::collections::HashMap;

use proto::saga::v1 as pb;
use saga_core::{Event, FailureClass, Millis, OpKey, OpState, Open, Payload, StepError};
use saga_engine::Entry;

use crate::app::view::{proto_error, timestamp};

/// What the journal's entries say about operations, besides their state.
#[derive(Default)]
pub(crate) struct Known<'a> {
    by_key: HashMap<OpKey, Facts<'a>>,
}

#[derive(Default)]
struct Facts<'a> {
    attempts: u32,
    finished_at: Option<Millis>,
    request: Option<&'a Payload>,
    last_error: Option<&'a StepError>,
    last_class: Option<FailureClass>,
}

impl<'a> Known<'a> {
    pub(crate) fn of(entries: &'a [Entry]) -> Self {
        let mut known = Self::default();
        for entry in entries {
            let Some((key, attempt)) = operation_of(&entry.recorded.event) else {
                continue;
            };
            let facts = known.by_key.entry(key).or_default();
            facts.attempts = facts.attempts.max(attempt.unwrap_or(0));
            facts.request = entry.request.as_ref().or(facts.request);
            match &entry.recorded.event {
                Event::Succeeded { .. } | Event::Abandoned { .. } | Event::Skipped { .. } => {
                    facts.finished_at = Some(entry.recorded.at)
                }
                Event::Refused { error, .. } => {
                    facts.finished_at = Some(entry.recorded.at);
                    facts.last_error = Some(error);
                }
                Event::Failed { failure, .. } => {
                    facts.last_error = Some(&failure.error);
                    facts.last_class = Some(failure.class);
                }
                Event::Pending { .. }
                | Event::LateSuccess { .. }
                | Event::Operator { .. }
                | Event::Unwinding { .. }
                | Event::Committed
                | Event::DeadlineMissed
                | Event::Ended { .. } => {}
            }
        }
        known
    }

    pub(crate) fn operation(&self, key: OpKey, state: &OpState) -> pb::Operation {
        let nothing = Facts::default();
        let facts = self.by_key.get(&key).unwrap_or(&nothing);
        let mut shown = pb::Operation {
            state: operation_state(state).into(),
            attempts: facts.attempts,
            finished_at: facts.finished_at.map(timestamp),
            request_json: facts
                .request
                .map_or_else(String::new, |request| request.json().to_owned()),
            last_error: facts.last_error.map(|error| proto_error(error, String::new())),
            last_error_class: facts
                .last_class
                .map_or_else(String::new, |class| class.name().to_owned()),
            ..pb::Operation::default()
        };
        match state {
            OpState::NotStarted | OpState::Abandoned | OpState::Skipped => {}
            OpState::Open(open) => {
                shown.attempts = attempts_made(open);
                shown.next_retry_at = open.next_at.map(timestamp);
                if let Some(error) = &open.last_error {
                    shown.last_error = Some(proto_error(error, String::new()));
                }
            }
            OpState::Succeeded(reply) => reply.json().clone_into(&mut shown.reply_json),
            OpState::Refused(error) => shown.last_error = Some(proto_error(error, String::new())),
        }
        shown
    }
}

/// The attempt of an open operation is under way, unless it waits for its time.
fn attempts_made(open: &Open) -> u32 {
    let waits = open.next_at.is_some() && open.drain_until.is_none();
    open.attempt.saturating_sub(u32::from(waits))
}

fn operation_state(state: &OpState) -> pb::OperationState {
    match state {
        OpState::NotStarted => pb::OperationState::NotStarted,
        OpState::Open(open) if open.pending => pb::OperationState::Pending,
        OpState::Open(open) if open.next_at.is_some() => pb::OperationState::Retrying,
        OpState::Open(_) => pb::OperationState::Running,
        OpState::Succeeded(_) => pb::OperationState::Succeeded,
        OpState::Refused(_) => pb::OperationState::Refused,
        OpState::Abandoned => pb::OperationState::Abandoned,
        OpState::Skipped => pb::OperationState::Skipped,
    }
}

pub(crate) const fn operation_of(event: &Event) -> Option<(OpKey, Option<u32>)> {
    match event {
        Event::Succeeded { key, attempt, .. }
        | Event::Refused { key, attempt, .. }
        | Event::Failed { key, attempt, .. }
        | Event::Pending { key, attempt } => Some((*key, Some(*attempt))),
        Event::Abandoned { key }
        | Event::Skipped { key }
        | Event::LateSuccess { key, .. }
        | Event::Operator { key: Some(key), .. } => Some((*key, None)),
        Event::Operator { key: None, .. }
        | Event::Unwinding { .. }
        | Event::Committed
        | Event::DeadlineMissed
        | Event::Ended { .. } => None,
    }
}
