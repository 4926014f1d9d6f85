//! What operators do about sagas that nobody drives: parked ones, and those that have ended.
//!
//! The journal alone decides, under its lock, on the version that the operator saw. What is written is the same whoever
//! writes it and whenever the process dies: a released saga is found by the next listing of this instance's sagas.

use std::sync::Arc;

use ids::SagaId;
use saga_core::{Event, OperatorAction, Recorded};

use super::{Done, Engine, refuse, seen_elsewhere};
use crate::handle::{Answer, OperatorRequest, RequestError};
use crate::journal::{Journal, JournalError, Noted};
use crate::participants::{Clock, Participants};

/// A note on its way into the journal.
#[derive(Debug)]
pub(super) struct Note {
    saga: SagaId,
    action: OperatorAction,
    answer: Answer,
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Drives a parked saga again.
    pub(super) fn release(
        &mut self,
        saga: SagaId,
        actor: Arc<str>,
        note: Arc<str>,
        expected_version: u32,
        answer: Answer,
    ) {
        if self.live.contains_key(&saga) || self.passive.contains(saga) {
            return refuse(answer, RequestError::NotAllowed);
        }
        if !self.is_unknown(saga) {
            // It may be parked in a moment, or driven.
            return refuse(answer, RequestError::NotHere);
        }
        let recorded = self.recorded(OperatorAction::Release, actor, note, "".into());
        self.note(saga, OperatorAction::Release, expected_version, recorded, answer);
    }

    /// Takes note of the attention of a saga that has ended.
    pub(super) fn acknowledge_ended(&mut self, saga: SagaId, request: OperatorRequest, answer: Answer) {
        let OperatorRequest {
            actor,
            note,
            evidence,
            expected_version,
            ..
        } = request;
        let recorded = self.recorded(OperatorAction::Acknowledge, actor, note, evidence);
        self.note(
            saga,
            OperatorAction::Acknowledge,
            expected_version,
            recorded,
            answer,
        );
    }

    fn recorded(
        &self,
        action: OperatorAction,
        actor: Arc<str>,
        note: Arc<str>,
        evidence: Arc<str>,
    ) -> Recorded {
        let event = Event::Operator {
            action,
            key: None,
            note,
            evidence,
        };
        Recorded::new(self.clock.now(), Some(actor), event)
    }

    fn note(
        &mut self,
        saga: SagaId,
        action: OperatorAction,
        expected: u32,
        recorded: Recorded,
        answer: Answer,
    ) {
        let journal = Arc::clone(&self.journal);
        let note = Note { saga, action, answer };
        self.notes += 1;
        self.work.push(Box::pin(async move {
            let result = if note.action == OperatorAction::Release {
                journal.release(saga, expected, recorded).await
            } else {
                journal.acknowledge(saga, expected, recorded).await
            };
            Done::Noted { note, result }
        }));
    }

    pub(super) fn noted(&mut self, note: Note, result: Result<Noted, JournalError>) {
        self.notes -= 1;
        let Note { saga, action, answer } = note;
        let noted = self.journal_ok(result);
        // If the journal did not say, it may have been released all the same; loading it tells.
        let may_be_released = action == OperatorAction::Release && matches!(noted, None | Some(Noted::Done));
        if may_be_released && !self.fenced {
            self.show_unparked(saga);
            self.claim_released(saga);
        }
        let result = match noted {
            None => Err(RequestError::Unknown),
            Some(Noted::Done) => Ok(seen_elsewhere(saga)),
            Some(Noted::Changed { version }) => Err(RequestError::Changed { version }),
            Some(Noted::NotAllowed) if action == OperatorAction::Release => Err(RequestError::NotAllowed),
            // It has not ended, and somebody else drives it.
            Some(Noted::NotAllowed) => Err(RequestError::NotHere),
        };
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }
}
