//! Deciding what an input means.

use std::sync::Arc;

use crate::event::{Actor, Event, Failure, FailureClass, Phase, Reason, Recorded, StepError};
use crate::input::{Completion, Context, Input, Outcome, Rejected};
use crate::operator::OperatorAction;
use crate::plan::{Plan, Zone};
use crate::state::{Clock, OpState, Run, State};
use crate::{Millis, Op, OpKey, Payload};

impl State {
    /// Decides what an input means, applies it, and returns the events to be made durable, in order.
    ///
    /// No events means that nothing durable changed. The caller acts on the new state only after the events are
    /// durable (rule 7).
    ///
    /// # Errors
    /// If the input changes nothing because it comes too late; the state is untouched.
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

    fn replied(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        key: OpKey,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<(), Rejected> {
        let state = self.op(key).ok_or(Rejected::Stale)?;
        let Some(open) = state.open().filter(|o| o.attempt == attempt) else {
            return match outcome {
                Outcome::Succeeded(reply) if self.is_given_up(key) => {
                    self.late(log, key, reply).map_err(|_| Rejected::Stale)
                }
                Outcome::Succeeded(_)
                | Outcome::Refused { .. }
                | Outcome::Pending
                | Outcome::Skipped
                | Outcome::NotSeen
                | Outcome::Failed { .. } => Err(Rejected::Stale),
            };
        };
        let conditional = log
            .plan
            .steps()
            .get(usize::from(key.step))
            .is_some_and(|s| s.conditional);
        let may_be_left_out = conditional && key.op == Op::Action;
        let definite = !open.unresolved;
        if self.is_waited_out(log.plan, key) {
            let event = match outcome {
                Outcome::Succeeded(reply) => Event::Succeeded { key, attempt, reply },
                Outcome::Refused { error, stored } if stored || definite => {
                    Event::Refused { key, attempt, error }
                }
                Outcome::Skipped if may_be_left_out => Event::Skipped { key },
                Outcome::Refused { .. }
                | Outcome::Pending
                | Outcome::Skipped
                | Outcome::NotSeen
                | Outcome::Failed { .. } => Event::Abandoned { key },
            };
            self.record(log, event);
            return Ok(());
        }
        let refusable = log.plan.refusable(key);
        match outcome {
            Outcome::Succeeded(reply) => self.record(log, Event::Succeeded { key, attempt, reply }),
            Outcome::Refused { error, stored } if refusable && (stored || definite) => {
                self.record(
                    log,
                    Event::Refused {
                        key,
                        attempt,
                        error: error.clone(),
                    },
                );
                self.unwind(log, context, Reason::Refused, Some(key.step), Some(error));
            }
            // A refusable "no" that proves nothing, since an earlier attempt may still take effect (rule 1).
            Outcome::Refused { error, .. } if refusable => {
                self.failed(log, context, key, attempt, FailureClass::Unknown, error);
            }
            Outcome::Refused { error, .. } => {
                self.failed(log, context, key, attempt, FailureClass::CannotBeRefused, error);
            }
            Outcome::Pending => {
                // Recorded when it is news, not every time the participant is asked.
                let worried = open.failures > 0 || open.unsent > 0 || open.attention.is_some();
                if !open.pending || open.not_seen || worried {
                    self.record(log, Event::Pending { key, attempt });
                }
            }
            Outcome::Skipped if may_be_left_out => self.record(log, Event::Skipped { key }),
            Outcome::Skipped => {
                let error = ours("UNCONDITIONAL", "the step has no condition".into());
                self.failed(log, context, key, attempt, FailureClass::Misconfigured, error);
            }
            Outcome::NotSeen => {
                let message = "the participant has never seen the operation";
                let error = ours("NOT_SEEN", message.into());
                self.failed(log, context, key, attempt, FailureClass::NotSeen, error);
            }
            Outcome::Failed { class, error } => self.failed(log, context, key, attempt, class, error),
        }
        Ok(())
    }

    fn completed(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        key: OpKey,
        result: Completion,
    ) -> Result<(), Rejected> {
        let state = self.op(key).ok_or(Rejected::NotOpen)?;
        if let Some(open) = state.open() {
            let attempt = open.attempt;
            let outcome = match result {
                Completion::Succeeded(reply) => Outcome::Succeeded(reply),
                // Whoever holds the token speaks for the operation, not for an attempt.
                Completion::Failed(error) => Outcome::Refused { error, stored: true },
            };
            return self.replied(log, context, key, attempt, outcome);
        }
        match (result, *state == OpState::NotStarted) {
            (_, true) => Err(Rejected::NotOpen),
            (Completion::Succeeded(reply), false) if self.is_given_up(key) => self.late(log, key, reply),
            (Completion::Failed(_), false) if self.is_given_up(key) => Err(Rejected::GivenUp),
            (Completion::Succeeded(_) | Completion::Failed(_), false) => Err(Rejected::Answered),
        }
    }

    /// Records the success of an action that was given up, once (rule 6).
    fn late(&mut self, log: &mut Log<'_>, key: OpKey, reply: Payload) -> Result<(), Rejected> {
        if self.run(key.step, key.index).is_none_or(|run| run.late.is_some()) {
            return Err(Rejected::Answered);
        }
        self.record(log, Event::LateSuccess { key, reply });
        Ok(())
    }

    /// Tells whether the saga goes on without knowing the outcome of an action, or on an operator's word about it.
    fn is_given_up(&self, key: OpKey) -> bool {
        key.op == Op::Action && self.run(key.step, key.index).is_some_and(Run::is_given_up)
    }

    /// Tells whether an open operation is only waited for, because the saga unwinds.
    fn is_waited_out(&self, plan: &Plan, key: OpKey) -> bool {
        let forward = usize::from(key.step) < plan.steps().len();
        self.phase == Phase::Compensating && key.op == Op::Action && forward
    }

    fn failed(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        key: OpKey,
        attempt: u32,
        class: FailureClass,
        error: StepError,
    ) {
        let Some(open) = self.op(key).and_then(OpState::open) else {
            return;
        };
        let step = log.plan.steps().get(usize::from(key.step));
        let limited = log.plan.limits_retries(key);
        let backoff = match (step, key.op) {
            (Some(step), Op::Action) => step.backoff,
            (Some(step), Op::Compensation) => step.compensation_backoff,
            (None, _) => log.plan.epilogue().map(|e| e.backoff).unwrap_or_default(),
        };
        let failures = open.failures.saturating_add(1);
        if limited && class == FailureClass::Unknown && failures > backoff.retries {
            let failure = Failure {
                class,
                error: error.clone(),
                next_at: None,
            };
            self.record(
                log,
                Event::Failed {
                    key,
                    attempt,
                    failure,
                },
            );
            self.unwind(log, context, Reason::Exhausted, Some(key.step), Some(error));
            return;
        }
        let backoff_ms = match class {
            FailureClass::Unknown => backoff.wait_ms(failures, context.jitter),
            FailureClass::Unsent => backoff.wait_ms(open.unsent.saturating_add(1), context.jitter),
            FailureClass::Misconfigured | FailureClass::CannotBeRefused | FailureClass::NotSeen => {
                backoff.wait_ms(1, context.jitter)
            }
        };
        // What needs attention goes on at the slow rate, whatever the latest failure was (rule 9). A probe has waited
        // for that already, and the action follows it.
        let worries = open.attention.is_some() || open.concern(class, limited).is_some();
        let slow = worries && class != FailureClass::NotSeen;
        let floor_ms = if slow { log.plan.attention_wait_ms() } else { 0 };
        let wait_ms = floor_ms.saturating_add(backoff_ms);
        let failure = Failure {
            class,
            error,
            next_at: Some(context.at.plus(wait_ms)),
        };
        self.record(
            log,
            Event::Failed {
                key,
                attempt,
                failure,
            },
        );
    }

    fn tick(&mut self, log: &mut Log<'_>, context: Context<'_>) {
        let passed = |at: Option<Millis>| at.is_some_and(|at| at <= context.at);
        if self.phase == Phase::Compensating {
            let drained: Vec<OpKey> = self
                .runs
                .iter()
                .filter(|run| run.action.open().is_some_and(|o| passed(o.drain_until)))
                .map(|run| OpKey {
                    step: run.step,
                    index: run.index,
                    op: Op::Action,
                })
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
        let open_action =
            |key: &&OpKey| key.op == Op::Action && self.op(**key).is_some_and(|op| op.open().is_some());
        let in_flight = context.in_flight.iter().filter(open_action).copied().collect();
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
