//! What an answer of a participant means.

use crate::event::{Cause, Event, Failure, FailureClass, Phase, Reason, StepError};
use crate::handle::{Log, ours};
use crate::input::{Completion, Context, Outcome, Rejected};
use crate::plan::Plan;
use crate::run::{OpState, Run};
use crate::state::State;
use crate::{Op, OpKey, Payload};

impl State {
    pub(crate) fn replied(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        key: OpKey,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<(), Rejected> {
        let state = self.op(key).ok_or(Rejected::Stale)?;
        let Some(open) = state.open().filter(|o| o.attempt == attempt) else {
            return self.answered_late(log, key, outcome);
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
                if !open.pending || worried {
                    self.record(log, Event::Pending { key, attempt });
                }
            }
            Outcome::Skipped if may_be_left_out => self.record(log, Event::Skipped { key }),
            Outcome::Skipped => {
                let error = ours("UNCONDITIONAL", "the step has no condition".into());
                self.failed(log, context, key, attempt, FailureClass::Misconfigured, error);
            }
            // Nobody was asked whether it has seen it: that is no answer.
            Outcome::NotSeen if !open.asks_probe(log.plan, key) => {
                let error = ours("NOT_PROBED", "the step was not probed".into());
                self.failed(log, context, key, attempt, FailureClass::Unknown, error);
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

    pub(crate) fn completed(
        &mut self,
        log: &mut Log<'_>,
        context: Context<'_>,
        key: OpKey,
        result: Completion,
    ) -> Result<(), Rejected> {
        let state = self.op(key).ok_or(Rejected::NotOpen)?;
        if let Some(open) = state.open() {
            let attempt = open.attempt;
            let objected = open
                .attention
                .is_some_and(|(cause, _)| cause == Cause::CannotBeRefused);
            if objected && matches!(result, Completion::Failed(_)) {
                // Said before. Each time would put off the next attempt.
                return Err(Rejected::Answered);
            }
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

    /// An answer to an attempt that the saga does not need any more.
    fn answered_late(&mut self, log: &mut Log<'_>, key: OpKey, outcome: Outcome) -> Result<(), Rejected> {
        let run = self.run(key.step, key.index).filter(|_| key.op == Op::Action);
        let watched = run.is_some_and(|run| run.watched_until.is_some());
        if let Outcome::Succeeded(reply) = outcome
            && self.is_given_up(key)
        {
            return self.late(log, key, reply).map_err(|_| Rejected::Stale);
        }
        if !watched {
            return Err(Rejected::Stale);
        }
        self.record(log, Event::Abandoned { key });
        Ok(())
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
}
