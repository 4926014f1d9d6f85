//! Deciding what an input means.

use crate::event::{Actor, Event, Failure, FailureClass, Phase, Reason, Recorded, StepError};
use crate::plan::{Plan, Zone};
use crate::state::{Clock, OpState, State};
use crate::{Millis, Op, OpKey, Payload};

/// What an attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The final reply.
    Succeeded(Payload),
    /// A "no" in the participant's own name.
    Refused {
        /// What was said.
        error: StepError,
        /// The participant's barrier has stored it: no attempt had or will have an effect.
        stored: bool,
    },
    /// Not final: ask again.
    Pending,
    /// Anything else.
    Failed {
        /// What kind; never [`FailureClass::CannotBeRefused`], which is decided here.
        class: FailureClass,
        /// What was said.
        error: StepError,
    },
}

/// Something that happened to a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An attempt ended.
    Replied {
        /// Of which operation.
        key: OpKey,
        /// Which attempt.
        attempt: u32,
        /// With what.
        outcome: Outcome,
    },
    /// Somebody wants the saga undone.
    Cancel {
        /// Who.
        actor: Actor,
        /// Why, in words.
        note: StepError,
    },
    /// Time has passed.
    Tick,
}

/// What comes with an input as data.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Now.
    pub at: Millis,
    /// A uniform random number, for jitter.
    pub jitter: u32,
    /// Actions with an attempt in flight, the one that just ended not among them.
    pub in_flight: &'a [OpKey],
}

/// Why an input changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The operation is not waiting for this attempt.
    #[error("the answer is for an attempt that nobody waits for")]
    Stale,
    /// The pivot may have started, or the commit point is passed (rule 2).
    #[error("the saga is past the point where it could be undone")]
    PastCommitPoint,
    /// It unwinds already.
    #[error("the saga unwinds already")]
    AlreadyUnwinding,
    /// It has ended.
    #[error("the saga has ended")]
    Ended,
}

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
        if self.phase.is_ended() {
            return Err(Rejected::Ended);
        }
        match input {
            Input::Replied {
                key,
                attempt,
                outcome,
            } => {
                self.replied(&mut log, context, key, attempt, outcome)?;
            }
            Input::Cancel { actor, note } => {
                if self.phase == Phase::Compensating {
                    return Err(Rejected::AlreadyUnwinding);
                }
                if !self.cancellable(plan) {
                    return Err(Rejected::PastCommitPoint);
                }
                log.actor = Some(actor);
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
        let open = self
            .op(key)
            .and_then(OpState::open)
            .filter(|o| o.attempt == attempt)
            .ok_or(Rejected::Stale)?;
        let zone = log.plan.steps().get(usize::from(key.step)).map(|s| s.zone);
        let draining = self.phase == Phase::Compensating && key.op == Op::Action && zone.is_some();
        if draining {
            let event = match outcome {
                Outcome::Succeeded(reply) => Event::Succeeded { key, attempt, reply },
                Outcome::Refused { error, stored } if stored || !open.unresolved => {
                    Event::Refused { key, attempt, error }
                }
                Outcome::Refused { .. } | Outcome::Pending | Outcome::Failed { .. } => {
                    Event::Abandoned { key }
                }
            };
            self.record(log, event);
            return Ok(());
        }
        let refusable = key.op == Op::Action && zone.is_some_and(|z| z != Zone::Retriable);
        match outcome {
            Outcome::Succeeded(reply) => self.record(log, Event::Succeeded { key, attempt, reply }),
            Outcome::Refused { error, stored } if refusable && (stored || !open.unresolved) => {
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
                if !open.pending || open.failures > 0 || open.unsent > 0 || open.attention.is_some() {
                    self.record(log, Event::Pending { key, attempt });
                }
            }
            Outcome::Failed { class, error } => self.failed(log, context, key, attempt, class, error),
        }
        Ok(())
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
            FailureClass::Misconfigured | FailureClass::CannotBeRefused => backoff.wait_ms(1, context.jitter),
        };
        // What needs attention goes on at the slow rate, whatever the latest failure was (rule 9).
        let slow = open.attention.is_some() || open.concern(class, limited).is_some();
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

    fn unwind(
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
                    .all(|(run, step)| step.zone == Zone::Retriable || run.action.succeeded());
                let all_done = forward.iter().all(|run| run.action.succeeded());
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
                    .is_none_or(|epilogue| epilogue.action.succeeded());
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

    fn record(&mut self, log: &mut Log<'_>, event: Event) {
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
        reason: reason.into(),
        domain: "saga.evenkeel".into(),
        message: message.into(),
    }
}

struct Log<'a> {
    plan: &'a Plan,
    at: Millis,
    actor: Option<Actor>,
    events: Vec<Recorded>,
}
