//! Replaying what was recorded.

use crate::event::{Event, Failure, FailureClass, Phase, Recorded};
use crate::operator::OperatorAction;
use crate::plan::Plan;
use crate::run::{OpState, Open, Run};
use crate::state::{Clock, State};
use crate::{Millis, Op, OpKey};

impl State {
    /// Replays one event.
    pub fn apply(&mut self, plan: &Plan, recorded: &Recorded) {
        let at = recorded.at;
        match &recorded.event {
            Event::Succeeded { key, reply, .. } => self.set(*key, OpState::Succeeded(reply.clone())),
            Event::Refused { key, error, .. } => self.set(*key, OpState::Refused(error.clone())),
            Event::Failed {
                key,
                attempt,
                failure,
            } => self.apply_failure(plan, at, *key, *attempt, failure),
            Event::Pending { key, .. } => {
                if let Some(open) = self.open_mut(*key) {
                    open.pending = true;
                    open.not_seen = false;
                    // What it has begun may still take effect, so only a stored refusal ends it (rule 1).
                    open.unresolved = true;
                    open.failures = 0;
                    open.unsent = 0;
                    open.next_at = None;
                    open.attention = None;
                }
            }
            Event::Abandoned { key } => self.give_up(*key),
            Event::Skipped { key } => self.set(*key, OpState::Skipped),
            Event::LateSuccess { key, reply } => {
                if let Some(run) = self.run_mut(*key) {
                    run.late = Some((reply.clone(), at));
                    run.watched_until = None;
                }
            }
            Event::Operator { action, key, .. } => self.apply_operator(plan, at, *action, *key),
            Event::Unwinding {
                reason,
                failed_step,
                error,
                in_flight,
            } => {
                self.phase = Phase::Compensating;
                self.reason = Some(*reason);
                self.failed_step = *failed_step;
                self.error.clone_from(error);
                self.turn_round(plan, at, in_flight);
            }
            Event::Committed => self.committed = true,
            Event::DeadlineMissed => self.deadline_missed = Some(at),
            Event::Ended { phase } => {
                self.phase = *phase;
                self.paused = None;
            }
        }
        self.advance(plan, at);
    }

    fn apply_failure(&mut self, plan: &Plan, at: Millis, key: OpKey, attempt: u32, failure: &Failure) {
        let limited = plan.limits_retries(key);
        let Some(open) = self.open_mut(key) else { return };
        open.attention = match (open.concern(failure.class, limited), open.attention) {
            (Some(cause), Some((before, since))) if cause == before => Some((cause, since)),
            (Some(cause), _) => Some((cause, at)),
            (None, before) => before,
        };
        match failure.class {
            FailureClass::Unknown => {
                open.failures = open.failures.saturating_add(1);
                open.unsent = 0;
                open.unresolved = true;
                open.not_seen = false;
            }
            FailureClass::Unsent => open.unsent = open.unsent.saturating_add(1),
            // Not a refusal, so it proves nothing about the effect (rule 1): a proxy may have said it.
            FailureClass::Misconfigured | FailureClass::CannotBeRefused => {
                open.unsent = 0;
                open.unresolved = true;
                open.not_seen = false;
            }
            FailureClass::NotSeen => {
                open.unsent = 0;
                open.pending = false;
                open.not_seen = true;
            }
        }
        open.attempt = attempt.saturating_add(1);
        open.last_error = Some(failure.error.clone());
        open.next_at = failure.next_at;
        if failure.next_at.is_none() && plan.steps().len() > usize::from(key.step) {
            self.set(key, OpState::Abandoned);
        }
    }

    /// Applies what an operator's action changes by itself; the rest follows as events of its own.
    fn apply_operator(&mut self, plan: &Plan, at: Millis, action: OperatorAction, key: Option<OpKey>) {
        match action {
            OperatorAction::RetryNow => {
                let wanted: Vec<OpKey> = self.wanted(plan).map(|(wanted, _)| wanted).collect();
                for wanted in wanted.into_iter().filter(|w| key.is_none_or(|key| key == *w)) {
                    if let Some(open) = self.open_mut(wanted) {
                        open.next_at = None;
                    }
                }
            }
            OperatorAction::ResolveFailed => {
                if let Some(run) = key.and_then(|key| self.run_mut(key)) {
                    run.written_off = true;
                }
            }
            OperatorAction::Pause => self.paused = Some(at),
            OperatorAction::Resume => self.paused = None,
            OperatorAction::Acknowledge => self.acknowledge(),
            OperatorAction::ResolveSucceeded
            | OperatorAction::Skip
            | OperatorAction::Compensate
            | OperatorAction::Resolve
            | OperatorAction::Release
            | OperatorAction::Cancel => {}
        }
    }

    fn acknowledge(&mut self) {
        self.deadline_seen = self.deadline_missed.is_some();
        for run in &mut self.runs {
            run.late_seen = run.late.is_some();
            for op in [&mut run.action, &mut run.compensation] {
                if let Some(open) = op.open_mut() {
                    open.attention = None;
                }
            }
        }
    }

    fn give_up(&mut self, key: OpKey) {
        if let Some(run) = self.run_mut(key) {
            // What was written off stays so; merely nobody waits for its last attempt any more.
            run.watched_until = None;
            if !run.written_off {
                run.action = OpState::Abandoned;
            }
        }
    }

    /// Gives up every open action, except that those in flight are waited for.
    fn turn_round(&mut self, plan: &Plan, at: Millis, in_flight: &[OpKey]) {
        for run in &mut self.runs {
            let step = plan.steps().get(usize::from(run.step));
            let until = at.plus(step.map_or(0, |s| s.timeout_ms));
            let is_in_flight = in_flight.contains(&run.action_key());
            match run.action.open_mut() {
                Some(open) if is_in_flight => {
                    open.drain_until = Some(until);
                    open.attention = None;
                }
                Some(_) => run.action = OpState::Abandoned,
                None => run.watched_until = (is_in_flight && run.written_off).then_some(until),
            }
        }
    }

    /// Opens what may start now, and starts or stops the deadline's clock.
    pub(crate) fn advance(&mut self, plan: &Plan, at: Millis) {
        match self.phase {
            Phase::Running => self.open_actions(plan, at),
            Phase::Compensating => self.open_compensations(plan),
            Phase::Completed | Phase::Compensated | Phase::Resolved => {}
        }
        let waits_for_people = self.phase == Phase::Running && self.only_people_are_waited_for();
        self.clock = match self.clock {
            Clock::Running { until } if waits_for_people => Clock::Stopped {
                left_ms: until.since(at),
            },
            Clock::Stopped { left_ms } if !waits_for_people => Clock::Running {
                until: at.plus(left_ms),
            },
            unchanged @ (Clock::Running { .. } | Clock::Stopped { .. }) => unchanged,
        };
    }

    fn only_people_are_waited_for(&self) -> bool {
        let mut open = self.runs.iter().filter_map(|run| run.action.open()).peekable();
        open.peek().is_some() && open.all(|o| o.expires_at.is_some())
    }

    fn open_actions(&mut self, plan: &Plan, at: Millis) {
        for (i, step) in plan.steps().iter().enumerate() {
            if self.runs[i].action != OpState::NotStarted
                || !step
                    .after
                    .iter()
                    .all(|&before| self.runs[usize::from(before)].action.done())
            {
                continue;
            }
            let expires = self.expires_ms.get(i).copied().flatten().filter(|_| step.expires);
            self.runs[i].action = OpState::Open(Box::new(Open {
                expires_at: expires.map(|ms| at.plus(ms)),
                ..Open::first()
            }));
        }
    }

    fn open_compensations(&mut self, plan: &Plan) {
        for i in (0..plan.steps().len()).rev() {
            let run = &self.runs[i];
            if run.compensation == OpState::NotStarted && self.wants_compensation(plan, run) {
                let settled = |&below: &u16| self.settled(plan, &self.runs[usize::from(below)]);
                if plan.descendants(run.step).iter().all(settled) {
                    self.runs[i].compensation = OpState::Open(Box::new(Open::first()));
                }
            }
        }
        let all_settled = self.runs[..plan.steps().len()]
            .iter()
            .all(|run| self.settled(plan, run));
        if all_settled
            && let Some(epilogue) = self.runs.get_mut(plan.steps().len())
            && epilogue.action == OpState::NotStarted
        {
            epilogue.action = OpState::Open(Box::new(Open::first()));
        }
    }

    fn set(&mut self, key: OpKey, state: OpState) {
        if let Some(run) = self.run_mut(key) {
            match key.op {
                Op::Action => run.action = state,
                Op::Compensation => run.compensation = state,
            }
        }
    }

    fn open_mut(&mut self, key: OpKey) -> Option<&mut Open> {
        let run = self.run_mut(key)?;
        match key.op {
            Op::Action => run.action.open_mut(),
            Op::Compensation => run.compensation.open_mut(),
        }
    }

    fn run_mut(&mut self, key: OpKey) -> Option<&mut Run> {
        self.runs
            .get_mut(usize::from(key.step))
            .filter(|run| run.index == key.index)
    }
}
