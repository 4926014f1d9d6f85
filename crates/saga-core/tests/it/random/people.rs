//! Who else has a say: operators, and those who hold completion tokens.

use saga_core::{
    Cause, Command, Completion, Input, Op, OpKey, OpState, OperatorAction, Payload, Rejected, Zone,
};

use super::participants::Mood;
use super::world::{World, pick};

impl World {
    pub(super) fn any_key(&self, i: u8, action: bool) -> OpKey {
        OpKey {
            step: u16::from(i) % (self.plan.epilogue_step() + 2),
            index: 0,
            op: if action { Op::Action } else { Op::Compensation },
        }
    }

    /// Somebody who holds a token answers truthfully, or somebody without one tries to before the operation started.
    pub(super) fn complete(&mut self, i: u8, action: bool, mood: Mood) {
        let key = self.any_key(i, action);
        let early = self.state.op(key).is_none_or(|op| *op == OpState::NotStarted);
        let result = match self.participants.completion(key, mood) {
            _ if early => Completion::Succeeded(Payload::new("\"early\"")),
            Some(result) => result,
            None => return,
        };
        let expected = self.expected_completion(key, matches!(result, Completion::Succeeded(_)));
        let handled = self.handle(Input::Completed { key, result });
        assert_eq!(handled, expected, "{key:?}");
    }

    fn expected_completion(&self, key: OpKey, success: bool) -> Result<(), Rejected> {
        if self.state.phase().is_ended() {
            return Err(Rejected::Ended);
        }
        let late = self.awaits_late(key);
        let run = self.state.runs().get(usize::from(key.step));
        match self.state.op(key).unwrap_or(&OpState::NotStarted) {
            OpState::NotStarted => Err(Rejected::NotOpen),
            OpState::Open(open) => match open.attention {
                Some((Cause::CannotBeRefused, _)) if !success => Err(Rejected::Answered),
                Some(_) | None => Ok(()),
            },
            OpState::Succeeded(_) | OpState::Skipped => Err(Rejected::Answered),
            OpState::Refused(_) if run.is_some_and(|run| !run.written_off) => Err(Rejected::Answered),
            OpState::Refused(_) | OpState::Abandoned => match (success, late) {
                (true, true) => Ok(()),
                (true, false) => Err(Rejected::Answered),
                (false, _) => Err(Rejected::GivenUp),
            },
        }
    }

    /// An operator does something that is allowed, and what they say is true.
    pub(super) fn operate(&mut self, i: u8, by_hand: bool) {
        let mut allowed = self.state.allowed(&self.plan);
        // It would end most stories early; it is a move of its own.
        allowed.retain(|allowed| allowed.action != OperatorAction::Resolve);
        let Some(allowed) = pick(&allowed, i) else { return };
        let key = allowed.key.unwrap_or(OpKey {
            step: 0,
            index: 0,
            op: Op::Action,
        });
        let command = match allowed.action {
            OperatorAction::RetryNow => Command::RetryNow(allowed.key),
            OperatorAction::ResolveSucceeded => {
                self.participants.by_hand(key);
                Command::ResolveSucceeded(key, Payload::new("{}"))
            }
            OperatorAction::ResolveFailed => {
                if !self.participants.write_off(key.step) {
                    return;
                }
                Command::ResolveFailed(key)
            }
            OperatorAction::Skip => {
                if by_hand || key.op == Op::Compensation {
                    self.participants.by_hand(key);
                }
                if key.op == Op::Action {
                    self.participants.leave_out(key.step);
                }
                Command::Skip(key)
            }
            OperatorAction::Compensate => Command::Compensate,
            OperatorAction::Pause => Command::Pause,
            OperatorAction::Resume => Command::Resume,
            OperatorAction::Acknowledge => Command::Acknowledge,
            OperatorAction::Cancel => return self.cancel(),
            OperatorAction::Resolve | OperatorAction::Release => unreachable!("left out, or never offered"),
        };
        let attends = command == Command::Acknowledge;
        self.command(command, &Ok(()));
        assert!(!attends || self.state.attention().next().is_none());
    }

    /// An operator tries something, which is refused unless it is allowed.
    pub(super) fn try_to(&mut self, i: u8, n: u8, action: bool) {
        let key = self.any_key(n, action);
        let commands = [
            Command::RetryNow(None),
            Command::RetryNow(Some(key)),
            Command::ResolveSucceeded(key, Payload::new("{}")),
            Command::ResolveFailed(key),
            Command::Skip(key),
            Command::Compensate,
            Command::Pause,
            Command::Resume,
            Command::Acknowledge,
        ];
        let command = commands[usize::from(i) % commands.len()].clone();
        if !self.may(&command) {
            let ended = self.state.phase().is_ended();
            let expected = if ended {
                Rejected::Ended
            } else {
                Rejected::NotAllowed
            };
            self.command(command, &Err(expected));
        }
    }

    /// Tells whether the rules allow a command, told anew.
    fn may(&self, command: &Command) -> bool {
        let state = &self.state;
        let open = |key: OpKey| state.op(key).and_then(OpState::open);
        let wanted = |key: OpKey| open(key).filter(|open| open.drain_until.is_none());
        let waits = |key: OpKey| wanted(key).is_some_and(|o| o.next_at.is_some() || o.pending);
        let zone = |key: OpKey| self.plan.steps().get(usize::from(key.step)).map(|step| step.zone);
        let refusable = |key: OpKey| key.op == Op::Action && zone(key).is_some_and(|z| z != Zone::Retriable);
        let live = !state.phase().is_ended();
        match command {
            Command::RetryNow(Some(key)) => live && waits(*key),
            Command::RetryNow(None) => {
                let keys = state.runs().iter().flat_map(|run| {
                    [Op::Action, Op::Compensation].map(|op| OpKey {
                        step: run.step,
                        index: run.index,
                        op,
                    })
                });
                live && keys.into_iter().any(waits)
            }
            Command::ResolveSucceeded(key, _) => live && wanted(*key).is_some(),
            Command::ResolveFailed(key) => live && refusable(*key) && wanted(*key).is_some(),
            Command::Skip(key) => live && !refusable(*key) && wanted(*key).is_some(),
            Command::Compensate => state.cancellable(&self.plan),
            Command::Resolve => live,
            Command::Pause => live && state.paused().is_none(),
            Command::Resume => state.paused().is_some(),
            Command::Acknowledge => state.attention().next().is_some(),
        }
    }

    pub(super) fn command(&mut self, command: Command, expected: &Result<(), Rejected>) {
        let offered = self.state.allowed(&self.plan);
        let offered = offered
            .iter()
            .any(|allowed| allowed.action == command.action() && allowed.key == command.key());
        assert_eq!(
            (offered, self.may(&command)),
            (expected.is_ok(), expected.is_ok()),
            "{command:?}"
        );
        let handled = self.handle(Input::Operator {
            actor: "bob".into(),
            note: "because".into(),
            evidence: "".into(),
            command,
        });
        assert_eq!(handled, *expected);
    }
}
