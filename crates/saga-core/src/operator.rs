//! What operators may do, and what it means.

use std::sync::Arc;

use crate::event::{Actor, Event, Phase, Reason};
use crate::handle::{Log, ours};
use crate::input::{Command, Context, Rejected};
use crate::plan::Plan;
use crate::run::Open;
use crate::state::State;
use crate::{Op, OpKey};

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperatorAction {
    /// Had an operation called at once.
    RetryNow,
    /// Recorded that an operation has succeeded.
    ResolveSucceeded,
    /// Recorded that an action has no effect and never will.
    ResolveFailed,
    /// Left out an operation that cannot be refused.
    Skip,
    /// Made the saga unwind.
    Compensate,
    /// Ended the saga as it was.
    Resolve,
    /// Held back the calls of the saga.
    Pause,
    /// Ended the pause.
    Resume,
    /// Had a quarantined saga driven again. Recorded by whoever releases it; changes nothing in the state.
    Release,
    /// Took note of what needs attention.
    Acknowledge,
    /// Asked for the saga to be undone; see [`Input::Cancel`](crate::Input::Cancel).
    Cancel,
}

impl OperatorAction {
    /// Every action.
    pub const ALL: [Self; 11] = [
        Self::RetryNow,
        Self::ResolveSucceeded,
        Self::ResolveFailed,
        Self::Skip,
        Self::Compensate,
        Self::Resolve,
        Self::Pause,
        Self::Resume,
        Self::Release,
        Self::Acknowledge,
        Self::Cancel,
    ];

    /// Returns the name that the journal keeps.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RetryNow => "retry_now",
            Self::ResolveSucceeded => "resolve_succeeded",
            Self::ResolveFailed => "resolve_failed",
            Self::Skip => "skip",
            Self::Compensate => "compensate",
            Self::Resolve => "resolve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Release => "release",
            Self::Acknowledge => "acknowledge",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the name that the journal keeps.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Something that the saga would accept from an operator as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// What.
    pub action: OperatorAction,
    /// The operation concerned; none for the saga as a whole.
    pub key: Option<OpKey>,
}

impl State {
    /// Returns what an operator may do now.
    ///
    /// [`OperatorAction::Release`] is never among it: a saga that can be released is not driven by anybody.
    #[must_use]
    pub fn allowed(&self, plan: &Plan) -> Vec<Allowed> {
        let mut allowed = Vec::new();
        if !self.phase.is_ended() {
            self.allowed_on_operations(plan, &mut allowed);
            let waits = allowed.iter().any(|a| a.action == OperatorAction::RetryNow);
            let whole = [
                (OperatorAction::RetryNow, waits),
                (OperatorAction::Compensate, self.cancellable(plan)),
                (OperatorAction::Cancel, self.cancellable(plan)),
                (OperatorAction::Resolve, true),
                (OperatorAction::Pause, self.paused.is_none()),
                (OperatorAction::Resume, self.paused.is_some()),
            ];
            let whole = whole.into_iter().filter(|(_, yes)| *yes);
            allowed.extend(whole.map(|(action, _)| Allowed { action, key: None }));
        }
        if self.attention().next().is_some() {
            allowed.push(Allowed {
                action: OperatorAction::Acknowledge,
                key: None,
            });
        }
        allowed
    }

    fn allowed_on_operations(&self, plan: &Plan, allowed: &mut Vec<Allowed>) {
        for (key, open) in self.wanted(plan) {
            // What can be refused is open only while the saga goes forward: unwinding, it is merely waited for.
            let refusable = plan.refusable(key);
            let actions = [
                (OperatorAction::RetryNow, open.next_at.is_some() || open.pending),
                (OperatorAction::ResolveSucceeded, true),
                (OperatorAction::ResolveFailed, refusable),
                (OperatorAction::Skip, !refusable),
            ];
            for (action, _) in actions.into_iter().filter(|(_, yes)| *yes) {
                allowed.push(Allowed {
                    action,
                    key: Some(key),
                });
            }
        }
    }

    pub(crate) fn commanded(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        actor: Actor,
        note: Arc<str>,
        evidence: Arc<str>,
        command: Command,
    ) -> Result<(), Rejected> {
        let (action, key) = (command.action(), command.key());
        if !self.allowed(log.plan).contains(&Allowed { action, key }) {
            return Err(if self.phase.is_ended() {
                Rejected::Ended
            } else {
                Rejected::NotAllowed
            });
        }
        log.actor = Some(actor);
        self.record(
            log,
            Event::Operator {
                action,
                key,
                note: Arc::clone(&note),
                evidence,
            },
        );
        match command {
            // The record of the action is all there is to it.
            Command::RetryNow(_) | Command::Pause | Command::Resume | Command::Acknowledge => {}
            Command::ResolveSucceeded(key, reply) => {
                let attempt = self.attempt(key);
                self.record(log, Event::Succeeded { key, attempt, reply });
            }
            Command::ResolveFailed(key) => {
                let error = ours("RESOLVED_AS_FAILED", note);
                let refused = Event::Refused {
                    key,
                    attempt: self.attempt(key),
                    error: error.clone(),
                };
                self.record(log, refused);
                self.unwind(log, context, Reason::Operator, Some(key.step), Some(error));
            }
            Command::Skip(key) => self.record(log, Event::Skipped { key }),
            Command::Compensate => {
                let error = ours("COMPENSATED_BY_HAND", note);
                self.unwind(log, context, Reason::Operator, None, Some(error));
            }
            Command::Resolve => {
                let phase = Phase::Resolved;
                self.record(log, Event::Ended { phase });
            }
        }
        log.actor = None;
        Ok(())
    }

    fn attempt(&self, key: OpKey) -> u32 {
        self.op(key)
            .and_then(|op| op.open())
            .map_or(1, |open| open.attempt)
    }

    /// Returns the open operations that the saga wants done: all but the actions that it only waits for while unwinding.
    pub(crate) fn wanted<'a>(&'a self, plan: &Plan) -> impl Iterator<Item = (OpKey, &'a Open)> + 'a {
        let epilogue = plan.epilogue_step();
        self.live_runs().iter().flat_map(move |run| {
            // While unwinding, an open action is only waited for, never started again (rule 3).
            let action_wanted = self.phase == Phase::Running || run.step == epilogue;
            let action = run.action.open().filter(|_| action_wanted);
            let compensation = run.compensation.open();
            let action = action.into_iter().map(|open| (Op::Action, open));
            let compensation = compensation.into_iter().map(|open| (Op::Compensation, open));
            action.chain(compensation).map(move |(op, open)| {
                let (step, index) = (run.step, run.index);
                (OpKey { step, index, op }, open)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_operators_action_can_be_read_back() {
        for action in OperatorAction::ALL {
            assert_eq!(OperatorAction::from_name(action.name()), Some(action));
        }
        assert_eq!(OperatorAction::from_name("RETRY_NOW"), None);
    }
}
