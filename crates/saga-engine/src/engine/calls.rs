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

/// Longest time until a pending participant is asked again, whatever it says: the longest that a definition can name.
const MAX_ASK_AGAIN_MS: u64 = 60 * 60 * 1_000;
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
    probe: bool,
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
        probe: due.probe,
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
    let (saga, key, attempt, probe, began) = (call.saga.id, call.key, call.attempt, call.probe, clock.now());
    // Boxed where it is made: it is large, and would be moved into what follows, and once more when that is polled.
    let answer = Box::pin(AssertUnwindSafe(participants.call(call)).catch_unwind());
    Box::pin(async move {
        let answer = answer.await.map_err(|panic| panic_text(&*panic));
        Done::Call(Box::new(CallDone {
            saga,
            generation,
            key,
            attempt,
            probe,
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
    let Ok(answer) = answer else {
        return Verdict::Nothing;
    };
    match &answer.result {
        CallResult::Outcome(Outcome::Failed { error, .. }) if &*error.domain == OWN_DOMAIN => {
            Verdict::Nothing
        }
        CallResult::Outcome(Outcome::Failed { class, error }) => match class {
            FailureClass::Unsent => Verdict::Silent,
            FailureClass::Unknown if SILENCE.contains(&&*error.code) => Verdict::Silent,
            FailureClass::Unknown
            | FailureClass::Misconfigured
            | FailureClass::CannotBeRefused
            | FailureClass::NotSeen => Verdict::Answers,
        },
        // Nobody was called.
        CallResult::Outcome(Outcome::Skipped) => Verdict::Nothing,
        CallResult::Outcome(
            Outcome::Succeeded(_) | Outcome::Refused { .. } | Outcome::Pending | Outcome::NotSeen,
        )
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
            probe,
            began,
            place,
            answer,
        } = done;
        self.traffic.calls = self.traffic.calls.saturating_sub(1);
        let now = self.clock.now();
        self.leave(place, verdict(&answer), now);
        let passed = now.since(began);
        let generation_now = self.live.get(&saga).map(|live| (live.generation, live.series));
        if let (Some((_, series)), Ok(answer)) = (generation_now, &answer) {
            let ending = Ending::of(&answer.result);
            self.metrics.answered(series, key, probe, ending, passed);
        }
        if generation_now.is_some_and(|(now, _)| now == generation) {
            if let Some(live) = self.live.get_mut(&saga) {
                live.in_flight
                    .retain(|flight| flight.key != key || flight.attempt != attempt);
            }
            self.answered(saga, key, attempt, answer, passed);
        } else if let Ok(Answer {
            request,
            result: CallResult::Outcome(outcome @ Outcome::Succeeded(_)),
        }) = answer
        {
            // A saga that is loaded again sends the call anew; this answer is of the life before. What it says of an
            // attempt means nothing any more, but a success is one of the operation.
            let input = Input::Replied {
                key,
                attempt,
                outcome,
            };
            let told = told(input, request, passed);
            match self.live.get_mut(&saga) {
                Some(live) => {
                    live.inbox.push_back(told);
                    self.pump(saga);
                }
                None => self.keep_success(saga, told),
            }
        }
        self.fill_places();
    }

    /// Tells a saga what came of its call.
    fn answered(
        &mut self,
        saga: SagaId,
        key: OpKey,
        attempt: u32,
        answer: Result<Answer, String>,
        duration_ms: u64,
    ) {
        let now = self.clock.now();
        let Some(live) = self.live.get_mut(&saga) else {
            return;
        };
        let (request, result) = match answer {
            Ok(Answer { request, result }) => (request, result),
            Err(panic) => return self.park(saga, format!("a call panicked: {panic}")),
        };
        // When it was to be asked is over, whatever it says now.
        live.ask_now(Some(key));
        let hinted = live.hinted;
        live.hinted &= !live.in_flight.is_empty();
        let outcome = match result {
            CallResult::Outcome(outcome) => outcome,
            CallResult::Pending { ask_again_ms } => {
                let wait = if hinted { MIN_ASK_AGAIN_MS } else { ask_again_ms };
                let wait = wait.clamp(MIN_ASK_AGAIN_MS, MAX_ASK_AGAIN_MS);
                live.ask_again(key, now.plus(wait));
                Outcome::Pending
            }
            CallResult::Superseded if live.superseded != Some(key) && live.is_open(key) => {
                tracing::warn!(saga_id = %saga, "a participant has seen a later state of the saga; loading it again");
                return self.reload_one(saga, key);
            }
            // Given up meanwhile and undone: as it should be. Or loaded again, and still so: somebody else undid it, which
            // is no reason to ask in a hot loop.
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
        live.inbox.push_back(told(input, request, duration_ms));
        self.pump(saga);
        self.handled(saga);
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
        request,
        duration_ms: u32::try_from(duration_ms).ok(),
        ..Told::plain(input)
    }
}
