//! Participants behind a network that delays, loses and repeats, each with a barrier.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ids::SagaId;
use saga_core::invariants::effects::{Effect, broken_promise};
use saga_core::{FailureClass, Op, OpKey, Outcome, Payload, Phase, StepError};
use saga_engine::{
    Answer, Call, CallResult, DefinitionId, Identity, Participant, ParticipantId, Participants,
};
use tokio::sync::oneshot;

use super::broken::Broken;
use super::dice::Dice;
use super::trace::Trace;
use super::weather::Host;

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
    /// Returns what it has done to the world.
    pub(super) fn effect(&self, left_out: bool) -> Effect {
        Effect {
            done: self.done,
            undone: self.undone,
            open: self.action == Barrier::Pending,
            left_out,
        }
    }

    /// Compensates it: a refused action left nothing behind; one that never came must not come any more.
    pub(super) fn undo(&mut self, broken: Option<Broken>) {
        if self.compensated {
            return;
        }
        self.compensated = true;
        match self.action {
            Barrier::Succeeded => self.undone += 1,
            Barrier::Free if broken == Some(Broken::NullCompensationLeavesNoRow) => {}
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
    pub(super) trace: Trace,
    pub(super) broken: Option<Broken>,
    /// Promises about effects that a call has broken.
    pub(super) violations: Arc<Mutex<Vec<String>>>,
}

/// The services as one host reaches them.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) services: Services,
    pub(super) host: Host,
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

    /// Returns the effects of a saga's steps, by position.
    pub(super) fn effects(&self, saga: &Identity) -> Vec<Effect> {
        let steps = self.steps.lock().unwrap();
        let positions = saga.plan.epilogue_step() + u16::from(saga.plan.epilogue().is_some());
        (0..positions)
            .map(|position| {
                let left_out = left_out(saga, position);
                let step = steps.get(&(saga.id, position));
                step.map_or(
                    Effect {
                        left_out,
                        ..Effect::default()
                    },
                    |step| step.effect(left_out),
                )
            })
            .collect()
    }

    /// The participant's transaction, after which no promise may be broken whatever the saga's phase is.
    fn arrive(&self, call: &Call) -> CallResult {
        let result = self.transact(call);
        self.trace.note(&format!(
            "step {} of {} is asked for {:?}, attempt {}, by epoch {}: {result:?}",
            call.key.step, call.saga.business_id, call.key.op, call.attempt, call.epoch
        ));
        let effects = self.effects(&call.saga);
        if let Some(promise) = broken_promise(&call.saga.plan, Phase::Resolved, &effects) {
            let what = format!("{promise}: {} {effects:?}", call.saga.id);
            self.violations.lock().unwrap().push(what);
        }
        result
    }

    fn transact(&self, call: &Call) -> CallResult {
        let mut steps = self.steps.lock().unwrap();
        let step = steps.entry((call.saga.id, call.key.step)).or_default();
        if call.key.op == Op::Compensation {
            step.undo(self.broken);
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
            Barrier::Superseded if self.broken == Some(Broken::LateActionRuns) => {}
            Barrier::Superseded => return CallResult::Superseded,
            Barrier::Refused => return refused(),
            Barrier::Succeeded if self.broken == Some(Broken::RepeatedActionRunsAgain) => {}
            Barrier::Succeeded => return succeeded(call),
            // Its mood stays the same until it is mended.
            Barrier::Free => {
                step.mood.get_or_insert_with(|| self.dice.below(20));
            }
            Barrier::Pending => {}
        }
        match step.mood {
            Some(0) if call.refusable => {
                if self.broken == Some(Broken::RefusalIsNotStored) {
                    step.mood = None;
                } else {
                    step.action = Barrier::Refused;
                }
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

impl Participants for Reached {
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
        let Self { services, host } = self.clone();
        async move {
            assert!(
                !services.trouble() || !services.dice.one_in(10),
                "the participant's code panics"
            );
            let result = if call.key.op == Op::Action && left_out(&call.saga, call.key.step) {
                CallResult::Outcome(Outcome::Skipped)
            } else if services.trouble() || (!host.reaches_participants() && services.dice.one_in(2)) {
                failed(FailureClass::Unsent, "REFUSED")
            } else {
                services.send(&call, &host).await
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
    async fn send(&self, call: &Call, host: &Host) -> CallResult {
        let (reply, replied) = oneshot::channel();
        let mut delay_ms = self.dice.below(30) + host.lag_ms(&self.dice);
        if self.trouble() {
            delay_ms += self.dice.below(4_000);
        }
        let twice = self.trouble();
        let lost = self.trouble() || !host.reaches_participants();
        let (services, request, host) = (self.clone(), call.clone(), host.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
            if !lost {
                let answer = services.arrive(&request);
                if !services.trouble() && host.reaches_participants() {
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
