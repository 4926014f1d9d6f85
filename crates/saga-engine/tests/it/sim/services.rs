//! Participants behind a network that delays, loses and repeats, each with a barrier.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ids::SagaId;
use saga_core::{FailureClass, Op, OpKey, Outcome, Payload, StepError};
use saga_engine::{
    Answer, Call, CallResult, DefinitionId, Identity, Participant, ParticipantId, Participants,
};
use tokio::sync::oneshot;

use super::dice::Dice;

/// What a participant has of one step of one saga.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    #[default]
    Free,
    Pending,
    Succeeded,
    Refused,
    Superseded,
}

/// The rows of one step, and how often it had an effect.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) action: Barrier,
    pub(crate) compensated: bool,
    pub(crate) done: u32,
    pub(crate) undone: u32,
    /// What it answers to a new action.
    mood: Option<u32>,
}

impl Step {
    /// Compensates it: a refused action left nothing behind; one that never came must not come any more.
    pub(crate) fn undo(&mut self) {
        if self.compensated {
            return;
        }
        self.compensated = true;
        match self.action {
            Barrier::Succeeded => self.undone += 1,
            Barrier::Free | Barrier::Pending => self.action = Barrier::Superseded,
            Barrier::Refused | Barrier::Superseded => {}
        }
    }

    /// What a person has to mend is mended.
    pub(crate) fn mend(&mut self) {
        if self.action != Barrier::Refused {
            self.mood = self.mood.map(|_| 19);
        }
    }
}

/// Tells whether a step's condition does not hold; the same at every attempt.
pub(crate) fn left_out(saga: &Identity, step: u16) -> bool {
    let conditional = saga
        .plan
        .steps()
        .get(usize::from(step))
        .is_some_and(|step| step.conditional);
    conditional && saga.id.uuid().as_u128().is_multiple_of(2)
}

#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) steps: Arc<Mutex<HashMap<(SagaId, u16), Step>>>,
    /// One message in so many is lost; 0 for none.
    pub(crate) faults: Arc<Mutex<u32>>,
    pub(crate) dice: Dice,
}

fn error(reason: &str) -> StepError {
    StepError {
        code: "UNAVAILABLE".into(),
        reason: reason.into(),
        domain: "sim".into(),
        message: "".into(),
    }
}

fn failed(class: FailureClass, why: &str) -> CallResult {
    CallResult::Outcome(Outcome::Failed {
        class,
        error: error(why),
    })
}

fn succeeded(call: &Call) -> CallResult {
    CallResult::Outcome(Outcome::Succeeded(Payload::new(call.key.step.to_string())))
}

impl Services {
    fn trouble(&self) -> bool {
        let faults = *self.faults.lock().unwrap();
        faults > 0 && self.dice.one_in(faults)
    }

    /// The participant's transaction.
    fn arrive(&self, call: &Call) -> CallResult {
        let mut steps = self.steps.lock().unwrap();
        let step = steps.entry((call.saga.id, call.key.step)).or_default();
        if call.key.op == Op::Compensation {
            step.undo();
            return succeeded(call);
        }
        let refused = || {
            CallResult::Outcome(Outcome::Refused {
                error: error("NO"),
                stored: call.refusable,
            })
        };
        if call.probe && step.action == Barrier::Free {
            return CallResult::Outcome(Outcome::NotSeen);
        }
        match step.action {
            Barrier::Superseded => return CallResult::Superseded,
            Barrier::Refused => return refused(),
            Barrier::Succeeded => return succeeded(call),
            // Its mood stays the same until it is mended.
            Barrier::Free => {
                step.mood.get_or_insert_with(|| self.dice.below(20));
            }
            Barrier::Pending => {}
        }
        match step.mood {
            Some(0) if call.refusable => {
                step.action = Barrier::Refused;
                refused()
            }
            // A "no" that is not stored, from an operation that cannot be refused.
            Some(0) => refused(),
            Some(1) => failed(FailureClass::Misconfigured, "NOT_LET_IN"),
            Some(2..=5) if self.dice.below(3) > 0 => {
                step.action = Barrier::Pending;
                CallResult::Pending {
                    ask_again_ms: self.dice.below(400).into(),
                }
            }
            _ => {
                step.action = Barrier::Succeeded;
                step.done += 1;
                succeeded(call)
            }
        }
    }
}

impl Participants for Services {
    fn participants(&self) -> Vec<Participant> {
        let participant = |name: &str, limit| Participant {
            name: name.into(),
            limit,
        };
        vec![participant("even", Some(1)), participant("odd", None)]
    }

    fn participant(&self, _: DefinitionId, key: OpKey, _: bool) -> Option<ParticipantId> {
        // One step is nobody's.
        (key.step != 2).then_some(ParticipantId(usize::from(key.step % 2)))
    }

    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let services = self.clone();
        async move {
            assert!(
                !services.trouble() || !services.dice.one_in(10),
                "the participant's code panics"
            );
            let result = if call.key.op == Op::Action && left_out(&call.saga, call.key.step) {
                CallResult::Outcome(Outcome::Skipped)
            } else if services.trouble() {
                failed(FailureClass::Unsent, "REFUSED")
            } else {
                services.send(&call).await
            };
            Answer {
                request: Some(Payload::new("{}")),
                result,
            }
        }
    }
}

impl Services {
    /// Sends a request. It arrives whatever becomes of the caller, perhaps late, perhaps twice, perhaps never.
    async fn send(&self, call: &Call) -> CallResult {
        let (reply, replied) = oneshot::channel();
        let mut delay_ms = self.dice.below(30);
        if self.trouble() {
            delay_ms += self.dice.below(4_000);
        }
        let twice = self.trouble();
        let lost = self.trouble();
        let (services, request) = (self.clone(), call.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
            if !lost {
                let answer = services.arrive(&request);
                if !services.trouble() {
                    // The caller may be gone.
                    let _ = reply.send(answer);
                }
            }
            if twice {
                tokio::time::sleep(Duration::from_millis(services.dice.below(5_000).into())).await;
                services.arrive(&request);
            }
        });
        match tokio::time::timeout(Duration::from_millis(call.timeout_ms), replied).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => failed(FailureClass::Unknown, "BROKEN"),
            Err(_) => failed(FailureClass::Unknown, "TIMEOUT"),
        }
    }
}
