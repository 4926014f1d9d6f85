//! Calls to participants.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use ids::SagaId;
use saga_core::{Due, FailureClass, Input, Millis, OpKey, Outcome, Payload, StepError};

use super::breaker::Verdict;
use super::gates::Place;
use super::live::{Live, Told};
use super::metrics::Ending;
use super::{Done, Engine, Work, panic_text};
use crate::journal::Journal;
use crate::participants::{Answer, Call, CallResult, Clock, Participants};

/// Longest time until a pending participant is asked again, whatever it says.
const MAX_ASK_AGAIN_MS: u64 = 60_000;
/// Shortest: a participant that says "at once" does not get a hot loop.
const MIN_ASK_AGAIN_MS: u64 = 10;

/// Domain of the orchestrator's own errors.
const OWN_DOMAIN: &str = "saga.evenkeel";
/// Codes with which nobody but the connection speaks.
const SILENCE: [&str; 2] = ["UNAVAILABLE", "DEADLINE_EXCEEDED"];

/// A call that has ended.
#[derive(Debug)]
pub(super) struct CallDone {
    saga: SagaId,
    generation: u64,
    key: OpKey,
    attempt: u32,
    began: Millis,
    place: Option<Place>,
    answer: Result<Answer, String>,
}

/// Describes the call that the state asks for.
pub(super) fn call(live: &Live, due: Due, epoch: u64) -> Call {
    Call {
        saga: Arc::clone(&live.identity),
        key: due.key,
        attempt: due.attempt,
        epoch,
        timeout_ms: due.timeout_ms,
        refusable: due.refusable,
        replies: live.replies(),
        reason: live.state.reason().map_or("", saga_core::Reason::name),
        failed_step: live.failed_step(),
        error: live.error(),
    }
}

/// Makes the call. A panic in it is an answer too: it concerns this saga only.
pub(super) fn make<P: Participants, C: Clock>(
    participants: &Arc<P>,
    clock: &Arc<C>,
    generation: u64,
    place: Option<Place>,
    call: Call,
) -> Work {
    let (saga, key, attempt, began) = (call.saga.id, call.key, call.attempt, clock.now());
    let future = participants.call(call);
    Box::pin(async move {
        let answer = AssertUnwindSafe(future)
            .catch_unwind()
            .await
            .map_err(|panic| panic_text(&*panic));
        Done::Call(Box::new(CallDone {
            saga,
            generation,
            key,
            attempt,
            began,
            place,
            answer,
        }))
    })
}

/// What a call says about its participant.
///
/// A refused connection, a broken one and silence do; whatever it says itself, be it an error, shows that it is there. What
/// went wrong on our side says nothing.
fn verdict(answer: &Result<Answer, String>) -> Verdict {
    let Ok(answer) = answer else { return Verdict::Nothing };
    match &answer.result {
        CallResult::Outcome(Outcome::Failed { error, .. }) if &*error.domain == OWN_DOMAIN => Verdict::Nothing,
        CallResult::Outcome(Outcome::Failed { class, error }) => match class {
            FailureClass::Unsent => Verdict::Silent,
            FailureClass::Unknown if SILENCE.contains(&&*error.code) => Verdict::Silent,
            FailureClass::Unknown | FailureClass::Misconfigured | FailureClass::CannotBeRefused => Verdict::Answers,
        },
        CallResult::Outcome(Outcome::Succeeded(_) | Outcome::Refused { .. } | Outcome::Pending)
        | CallResult::Pending { .. }
        | CallResult::Superseded => Verdict::Answers,
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    pub(super) fn call_done(&mut self, done: CallDone) {
        let CallDone {
            saga,
            generation,
            key,
            attempt,
            began,
            place,
            answer,
        } = done;
        self.traffic.calls = self.traffic.calls.saturating_sub(1);
        let now = self.clock.now();
        self.leave(place, verdict(&answer), now);
        // A saga that was loaded again meanwhile has sent the call anew; this answer is of the life before.
        if let Some(live) = self
            .live
            .get_mut(&saga)
            .filter(|live| live.generation == generation)
        {
            live.in_flight
                .retain(|flight| flight.key != key || flight.attempt != attempt);
            if let Ok(answer) = &answer {
                let ending = Ending::of(&answer.result);
                self.metrics.answered(live.series, key, ending, now.since(began));
            }
            match answer {
                Err(panic) => self.park(saga, format!("a call panicked: {panic}")),
                Ok(Answer {
                    result: CallResult::Superseded,
                    ..
                }) if live.superseded != Some(key) => {
                    tracing::warn!(saga_id = %saga, "a participant has seen a later state of the saga; loading it again");
                    self.reload_one(saga, key);
                }
                Ok(Answer { request, result }) => {
                    let outcome = match result {
                        CallResult::Outcome(outcome) => outcome,
                        CallResult::Pending { ask_again_ms } => {
                            let wait = ask_again_ms.clamp(MIN_ASK_AGAIN_MS, MAX_ASK_AGAIN_MS);
                            live.ask_again(key, now.plus(wait));
                            Outcome::Pending
                        }
                        // Loaded again, and still so: somebody else undid it. Not a reason to ask in a hot loop.
                        CallResult::Superseded => Outcome::Failed {
                            class: FailureClass::Unknown,
                            error: superseded(),
                        },
                    };
                    let input = Input::Replied {
                        key,
                        attempt,
                        outcome,
                    };
                    live.inbox.push_back(told(input, request, now.since(began)));
                    self.pump(saga);
                    self.handled(saga);
                }
            }
        }
        self.fill_places();
    }
}

fn superseded() -> StepError {
    StepError {
        code: "ABORTED".into(),
        reason: "SUPERSEDED".into(),
        domain: OWN_DOMAIN.into(),
        message: "the participant has compensated this operation, but the journal knows of no compensation"
            .into(),
    }
}

fn told(input: Input, request: Option<Payload>, duration_ms: u64) -> Told {
    Told {
        input,
        request,
        duration_ms: u32::try_from(duration_ms).ok(),
        answer: None,
    }
}
