//! Deciding what an input means.

use std::sync::Arc;

use crate::event::{Actor, Event, Phase, Reason, Recorded, StepError};
use crate::input::{Context, Input, Rejected};
use crate::operator::OperatorAction;
use crate::plan::{Plan, Zone};
use crate::run::Run;
use crate::state::{Clock, State};
use crate::{Millis, Op, OpKey};

impl State {
    /// Decides what an input means, applies it, and returns the events to be made durable, in order.
    ///
    /// No events means that nothing durable changed. The caller acts on the new state only after the events are
    /// durable (rule 7).
    ///
    /// # Errors
    /// If the input changes nothing, because it comes too early or too late, or is not allowed; the state is untouched.
    pub fn handle(
        &mut self,
        plan: &Plan,
        context: Context<'_>,
        input: Input,
    ) -> Result<Vec<Recorded>, Rejected> {
        let mut log = Log {
            plan,
            at: context.at,
            actor: None,
            events: Vec::new(),
        };
        match input {
            // The one thing that a saga takes note of after its end.
            Input::Operator {
                actor,
                note,
                evidence,
                command,
            } => self.commanded(&mut log, context, actor, note, evidence, command)?,
            Input::Replied { .. } | Input::Completed { .. } | Input::Cancel { .. } | Input::Tick
                if self.phase.is_ended() =>
            {
                return Err(Rejected::Ended);
            }
            Input::Replied {
                key,
                attempt,
                outcome,
            } => self.replied(&mut log, context, key, attempt, outcome)?,
            Input::Completed { key, result } => self.completed(&mut log, context, key, result)?,
            Input::Cancel { actor, note } => {
                if self.phase == Phase::Compensating {
                    return Err(Rejected::AlreadyUnwinding);
                }
                if !self.cancellable(plan) {
                    return Err(Rejected::PastCommitPoint);
                }
                log.actor = Some(actor);
                let asked = Event::Operator {
                    action: OperatorAction::Cancel,
                    key: None,
                    note: Arc::clone(&note.message),
                    evidence: "".into(),
                };
                self.record(&mut log, asked);
                self.unwind(&mut log, context, Reason::Cancelled, None, Some(note));
                log.actor = None;
            }
            Input::Tick => self.tick(&mut log, context),
        }
        self.conclude(&mut log);
        debug_assert_eq!(crate::invariants::broken_at_rest(plan, self), None);
        Ok(log.events)
    }

    fn tick(&mut self, log: &mut Log<'_>, context: Context<'_>) {
        let passed = |at: Option<Millis>| at.is_some_and(|at| at <= context.at);
        if self.phase == Phase::Compensating {
            let drained: Vec<OpKey> = self
                .runs
                .iter()
                .filter(|run| passed(run.drain_until()))
                .map(Run::action_key)
                .collect();
            for key in drained {
                self.record(log, Event::Abandoned { key });
            }
            return;
        }
        let expired = self
            .runs
            .iter()
            .find(|run| run.action.open().is_some_and(|o| passed(o.expires_at)))
            .map(|run| run.step);
        let late = match self.clock {
            Clock::Running { until } => until <= context.at,
            Clock::Stopped { .. } => false,
        };
        if self.cancellable(log.plan) {
            if late || expired.is_some() {
                let open = self
                    .runs
                    .iter()
                    .find(|run| run.action.open().is_some())
                    .map(|run| run.step);
                let step = expired.or(open);
                let error = timeout_error(expired.is_some(), step.map(|s| log.plan.name(s)));
                self.unwind(log, context, Reason::Timeout, step, Some(error));
            }
        } else if late && self.deadline_missed.is_none() {
            self.record(log, Event::DeadlineMissed);
        }
    }

    pub(crate) fn unwind(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        reason: Reason,
        failed_step: Option<u16>,
        error: Option<StepError>,
    ) {
        let waited_for = |key: &&OpKey| {
            let run = self.run(key.step, key.index);
            key.op == Op::Action && run.is_some_and(|run| run.action.open().is_some() || run.written_off)
        };
        let in_flight = context.in_flight.iter().filter(waited_for).copied().collect();
        self.record(
            log,
            Event::Unwinding {
                reason,
                failed_step,
                error,
                in_flight,
            },
        );
    }

    /// Records what follows from the state by itself: the commit point, and the end.
    fn conclude(&mut self, log: &mut Log<'_>) {
        let steps = log.plan.steps();
        let forward = &self.runs[..steps.len()];
        match self.phase {
            Phase::Running => {
                let done_before_commit = forward
                    .iter()
                    .zip(steps)
                    .all(|(run, step)| step.zone == Zone::Retriable || run.action.done());
                let all_done = forward.iter().all(|run| run.action.done());
                if !self.committed && done_before_commit {
                    self.record(log, Event::Committed);
                }
                if all_done {
                    self.record(
                        log,
                        Event::Ended {
                            phase: Phase::Completed,
                        },
                    );
                }
            }
            Phase::Compensating => {
                let all_settled = forward.iter().all(|run| self.settled(log.plan, run));
                let epilogue_done = self
                    .runs
                    .get(steps.len())
                    .is_none_or(|epilogue| epilogue.action.done());
                if all_settled && epilogue_done {
                    self.record(
                        log,
                        Event::Ended {
                            phase: Phase::Compensated,
                        },
                    );
                }
            }
            Phase::Completed | Phase::Compensated | Phase::Resolved => {}
        }
    }

    pub(crate) fn record(&mut self, log: &mut Log<'_>, event: Event) {
        let recorded = Recorded::new(log.at, log.actor.clone(), event);
        self.apply(log.plan, &recorded);
        debug_assert_eq!(crate::invariants::broken(log.plan, self), None);
        log.events.push(recorded);
    }
}

fn timeout_error(expired: bool, step: Option<&str>) -> StepError {
    let step = step.unwrap_or("the saga");
    let (reason, message) = if expired {
        (
            "STEP_EXPIRED",
            format!("{step} was not answered before it expired"),
        )
    } else {
        ("DEADLINE_PASSED", format!("the deadline passed at {step}"))
    };
    StepError {
        code: "DEADLINE_EXCEEDED".into(),
        ..ours(reason, message.into())
    }
}

/// An error that no participant gave.
pub(crate) fn ours(reason: &str, message: Arc<str>) -> StepError {
    StepError {
        code: "ABORTED".into(),
        reason: reason.into(),
        domain: "saga.evenkeel".into(),
        message,
    }
}

/// What is recorded in one transition.
pub(crate) struct Log<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) at: Millis,
    pub(crate) actor: Option<Actor>,
    pub(crate) events: Vec<Recorded>,
}
