//! Operators who press at random, and participants who answer by token: early, late, twice, or not at all.
//!
//! What they say is always true. Whoever declares something about a step sees to it first that it is so, as the
//! participant's barrier has it.

use std::collections::HashMap;
use std::time::Duration;

use ids::SagaId;
use saga_core::{
    Command, Completion, Event, Op, OpKey, OperatorAction, Payload, Recorded, State, StepError, Zone,
};
use saga_engine::{Handle, OperatorRequest, RequestError};

use super::disk::Stored;
use super::services::{Barrier, left_out};
use super::{Answer, Sim, answered};

/// What people did, and what they were told.
#[derive(Default)]
pub(super) struct People {
    pressed: Vec<Pressed>,
    completed: Vec<Answer>,
    notes: u32,
}

/// One thing that an operator did.
struct Pressed {
    saga: SagaId,
    version: u32,
    note: String,
    answer: Answer,
}

impl People {
    pub(super) fn all_answered(&self) -> bool {
        let pressed = self.pressed.iter().map(|pressed| &pressed.answer);
        pressed.chain(&self.completed).all(Answer::is_finished)
    }
}

fn no() -> StepError {
    StepError {
        code: "FAILED_PRECONDITION".into(),
        reason: "NO".into(),
        domain: "sim".into(),
        message: "".into(),
    }
}

/// Replays a saga as it stands on disk.
pub(super) fn replay(stored: &Stored) -> State {
    let plan = &stored.identity.plan;
    let mut state = State::start(plan, &stored.identity.start);
    let phase = stored.row.phase;
    // What was noted after the end comes after it.
    let ended = Recorded::new(stored.identity.start.at, None, Event::Ended { phase });
    for recorded in &stored.events {
        state.apply(plan, recorded);
    }
    if phase.is_ended() {
        state.apply(plan, &ended);
    }
    state
}

impl Sim {
    /// An operator looks at a saga and does something about it, on what was seen or on older knowledge.
    pub(super) fn press(&mut self) {
        let (Some(handle), Some(saga)) = (self.handle(), self.some_saga()) else {
            return;
        };
        let (state, plan, seen, parked) = {
            let disk = self.disk.lock().unwrap();
            let stored = &disk.sagas[&saga];
            let events = u32::try_from(stored.events.len()).unwrap();
            let seen = events + u32::from(stored.row.phase.is_ended());
            let plan = std::sync::Arc::clone(&stored.identity.plan);
            (replay(stored), plan, seen, stored.quarantined.is_some())
        };
        let stale = u32::from(self.dice.one_in(5));
        let version = seen.saturating_sub(stale);
        if parked {
            return self.release(handle, saga, version);
        }
        let allowed = state.allowed(&plan);
        if allowed.is_empty() {
            return;
        }
        let nth = usize::try_from(self.dice.below(u32::try_from(allowed.len()).unwrap())).unwrap();
        let chosen = allowed[nth];
        let Some(command) = self.truthful(saga, chosen.action, chosen.key) else {
            return;
        };
        for handle in [Some(handle), self.handle().filter(|_| self.dice.one_in(3))] {
            let Some(handle) = handle else { continue };
            let (note, command) = (self.note(), command.clone());
            let request = OperatorRequest {
                actor: "op".into(),
                note: note.as_str().into(),
                evidence: "".into(),
                command,
                expected_version: version,
            };
            let answer = tokio::spawn(async move { handle.operate(saga, request).await });
            self.people.pressed.push(Pressed {
                saga,
                version,
                note,
                answer,
            });
        }
    }

    fn release(&mut self, handle: Handle, saga: SagaId, version: u32) {
        let note = self.note();
        let why = note.as_str().into();
        let answer = tokio::spawn(async move { handle.release(saga, "op".into(), why, version).await });
        self.people.pressed.push(Pressed {
            saga,
            version,
            note,
            answer,
        });
    }

    fn note(&mut self) -> String {
        self.people.notes += 1;
        format!("note {}", self.people.notes)
    }

    /// Makes true what the operator is about to declare; nothing if it cannot be.
    fn truthful(&self, saga: SagaId, action: OperatorAction, key: Option<OpKey>) -> Option<Command> {
        let by_hand = |key: OpKey| self.finish_by_hand(saga, key).then_some(key);
        Some(match action {
            OperatorAction::RetryNow => Command::RetryNow(key),
            OperatorAction::ResolveSucceeded => Command::ResolveSucceeded(by_hand(key?)?, Payload::new("1")),
            OperatorAction::Skip => Command::Skip(by_hand(key?)?),
            OperatorAction::ResolveFailed => Command::ResolveFailed(self.rule_out(saga, key?)?),
            OperatorAction::Compensate => Command::Compensate,
            OperatorAction::Resolve => self.dice.one_in(6).then_some(Command::Resolve)?,
            OperatorAction::Pause => Command::Pause,
            OperatorAction::Resume => Command::Resume,
            OperatorAction::Acknowledge => Command::Acknowledge,
            OperatorAction::Release | OperatorAction::Cancel => return None,
        })
    }

    fn is_left_out(&self, saga: SagaId, step: u16) -> bool {
        let disk = self.disk.lock().unwrap();
        left_out(&disk.sagas[&saga].identity, step)
    }

    /// Does by hand what an operation is to do.
    fn finish_by_hand(&self, saga: SagaId, key: OpKey) -> bool {
        if self.is_left_out(saga, key.step) {
            return false;
        }
        let mut steps = self.services.steps.lock().unwrap();
        let step = steps.entry((saga, key.step)).or_default();
        match key.op {
            Op::Compensation => step.undo(self.services.broken),
            Op::Action => match step.action {
                Barrier::Succeeded => {}
                Barrier::Free | Barrier::Pending => {
                    step.action = Barrier::Succeeded;
                    step.done += 1;
                }
                Barrier::Refused | Barrier::Superseded => return false,
            },
        }
        true
    }

    /// Sees to it that an action will never have an effect.
    fn rule_out(&self, saga: SagaId, key: OpKey) -> Option<OpKey> {
        let zone = {
            let disk = self.disk.lock().unwrap();
            let plan = &disk.sagas[&saga].identity.plan;
            plan.steps().get(usize::from(key.step))?.zone
        };
        let mut steps = self.services.steps.lock().unwrap();
        let step = steps.entry((saga, key.step)).or_default();
        match step.action {
            Barrier::Succeeded => None,
            Barrier::Refused => Some(key),
            // A pivot that answers SUPERSEDED for ever would be repeated for ever.
            Barrier::Free | Barrier::Pending | Barrier::Superseded if zone == Zone::Compensatable => {
                step.action = Barrier::Superseded;
                Some(key)
            }
            Barrier::Free | Barrier::Pending | Barrier::Superseded => None,
        }
    }

    /// Somebody who holds a token says how a step ended, once or twice.
    pub(super) fn complete(&mut self) {
        let (Some(handle), Some(saga)) = (self.handle(), self.some_saga()) else {
            return;
        };
        let (key, zone, open) = {
            let disk = self.disk.lock().unwrap();
            let stored = &disk.sagas[&saga];
            let plan = &stored.identity.plan;
            let count = u32::try_from(plan.steps().len()).unwrap();
            let step = u16::try_from(self.dice.below(count)).unwrap();
            let op = Op::Action;
            let key = OpKey { step, index: 0, op };
            let open = replay(stored).op(key).is_some_and(|op| op.open().is_some());
            (key, plan.steps()[usize::from(step)].zone, open)
        };
        let result = {
            let left_out = self.is_left_out(saga, key.step);
            let mut steps = self.services.steps.lock().unwrap();
            let step = steps.entry((saga, key.step)).or_default();
            match step.action {
                Barrier::Succeeded => Completion::Succeeded(Payload::new("1")),
                Barrier::Refused => Completion::Failed(no()),
                Barrier::Superseded => return,
                Barrier::Free | Barrier::Pending if left_out => return,
                Barrier::Free | Barrier::Pending if open && self.dice.one_in(2) => {
                    step.action = Barrier::Succeeded;
                    step.done += 1;
                    Completion::Succeeded(Payload::new("1"))
                }
                // Perhaps before it was asked: then it will refuse when it is.
                Barrier::Free | Barrier::Pending if zone != Zone::Retriable => {
                    step.action = Barrier::Refused;
                    Completion::Failed(no())
                }
                Barrier::Free | Barrier::Pending => return,
            }
        };
        let again = self.handle().filter(|_| self.dice.one_in(2));
        for (handle, wait_ms) in [
            (Some(handle), self.dice.below(50)),
            (again, self.dice.below(3_000)),
        ] {
            let Some(handle) = handle else { continue };
            let result = result.clone();
            self.people.completed.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(wait_ms.into())).await;
                handle.complete(saga, key, result).await
            }));
        }
    }

    /// Pauses the type, or lets it go: here at once, elsewhere by the next beat.
    pub(super) async fn pause_type(&mut self) {
        let types: Vec<std::sync::Arc<str>> = if self.dice.one_in(2) {
            vec!["SIM".into()]
        } else {
            Vec::new()
        };
        self.disk.lock().unwrap().paused_types.clone_from(&types);
        if let Some(handle) = self.handle() {
            // It may be gone, or busy; the beat tells it anyway.
            let _ = handle.set_paused_types(types).await;
        }
    }

    /// Undoes what people did that would keep sagas from ending.
    pub(super) fn let_everybody_go(&mut self) {
        self.disk.lock().unwrap().paused_types.clear();
        let held: Vec<(SagaId, u32, bool)> = {
            let disk = self.disk.lock().unwrap();
            let unfinished = disk
                .sagas
                .iter()
                .filter(|(_, stored)| !stored.row.phase.is_ended());
            unfinished
                .filter_map(|(saga, stored)| {
                    let parked = stored.quarantined.is_some();
                    let held = parked || replay(stored).paused().is_some();
                    held.then_some((*saga, u32::try_from(stored.events.len()).unwrap(), parked))
                })
                .collect()
        };
        let handles: Vec<Handle> = self.replicas.iter().flatten().map(|p| p.handle.clone()).collect();
        for (saga, version, parked) in held {
            for handle in &handles {
                let handle = handle.clone();
                if parked {
                    self.release(handle, saga, version);
                    continue;
                }
                let note = self.note();
                let request = OperatorRequest {
                    actor: "op".into(),
                    note: note.as_str().into(),
                    evidence: "".into(),
                    command: Command::Resume,
                    expected_version: version,
                };
                let answer = tokio::spawn(async move { handle.operate(saga, request).await });
                self.people.pressed.push(Pressed {
                    saga,
                    version,
                    note,
                    answer,
                });
            }
        }
    }

    /// One operator at most wins on a version; what was refused left nothing behind.
    pub(super) async fn check_people(&mut self) -> Result<u32, String> {
        let mut winners: HashMap<(SagaId, u32), String> = HashMap::new();
        for Pressed {
            saga,
            version,
            note,
            answer,
        } in std::mem::take(&mut self.people.pressed)
        {
            let answer = answered(answer).await?;
            let disk = self.disk.lock().unwrap();
            let events = &disk.sagas[&saga].events;
            let is_it = |recorded: &Recorded| matches!(&recorded.event, Event::Operator { note: n, .. } if **n == *note);
            let found: Vec<usize> = (0..events.len()).filter(|i| is_it(&events[*i])).collect();
            let wrong = |what: &str| {
                Err(format!(
                    "{what}: {note} on version {version} of {saga}, {answer:?}: {events:?}"
                ))
            };
            if found.len() > 1 {
                return wrong("done twice");
            }
            match &answer {
                Ok(_) => {
                    if found.is_empty() {
                        return wrong("answered and not there");
                    }
                    if let Some(other) = winners.insert((saga, version), note.clone()) {
                        return wrong(&format!("{other} won, too"));
                    }
                }
                Err(RequestError::Unknown | RequestError::Stopped) => {}
                Err(
                    RequestError::Changed { .. }
                    | RequestError::NotAllowed
                    | RequestError::NotHere
                    | RequestError::Ended
                    | RequestError::Overloaded,
                ) if found.is_empty() => {}
                Err(_) => return wrong("refused, or not possible"),
            }
            // The end counts as a version, and is no event.
            if let Some(at) = found.first()
                && u32::try_from(*at).unwrap() != version
                && u32::try_from(*at).unwrap() + 1 != version
            {
                return wrong("done on another version");
            }
        }
        for answer in std::mem::take(&mut self.people.completed) {
            match answered(answer).await? {
                Ok(_)
                | Err(
                    RequestError::NotHere
                    | RequestError::NotOpen
                    | RequestError::Answered
                    | RequestError::GivenUp
                    | RequestError::Ended
                    | RequestError::Overloaded
                    | RequestError::Unknown
                    | RequestError::Stopped,
                ) => {}
                Err(error) => return Err(format!("a completion was answered {error:?}")),
            }
        }
        Ok(u32::try_from(winners.len()).unwrap())
    }
}
