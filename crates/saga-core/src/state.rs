//! The state of one saga, and what follows from it.

use crate::event::{Cause, Phase, Reason, StepError};
use crate::plan::{Plan, Zone};
use crate::run::{OpState, Run};
use crate::{Millis, Op, OpKey, Payload};

/// What a saga starts with. All of it follows from the saga's row and input, so it is the same at every load.
#[derive(Debug, Clone)]
pub struct Start {
    /// When the saga was started.
    pub at: Millis,
    /// Machine time the saga may take, in milliseconds.
    pub deadline_ms: u64,
    /// For each step that waits for a person: how long, in milliseconds. Empty if no step does.
    pub expires_ms: Vec<Option<u64>>,
}

/// The deadline's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Machine time ends at this instant.
    Running {
        /// The deadline.
        until: Millis,
    },
    /// Only steps that wait for a person are open; so much machine time is left.
    Stopped {
        /// In milliseconds.
        left_ms: u64,
    },
}

/// Why a person should look at a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Why.
    pub cause: Cause,
    /// Which step; none for the saga as a whole.
    pub step: Option<u16>,
    /// Since when.
    pub since: Millis,
}

/// A call that the state asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which operation.
    pub key: OpKey,
    /// Number of the attempt.
    pub attempt: u32,
    /// When it may start; at once if absent.
    pub not_before: Option<Millis>,
    /// Longest time the attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether a definite "no" is an answer the saga can act on.
    pub refusable: bool,
    /// The participant was asked before and works on it.
    pub pending: bool,
    /// The participant is to be asked what became of the action, instead of being called again. A condition of the step
    /// is looked at before either: after a load, an action that was never called is probed, too.
    pub probe: bool,
}

/// The state of one saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) phase: Phase,
    pub(crate) reason: Option<Reason>,
    pub(crate) failed_step: Option<u16>,
    pub(crate) error: Option<StepError>,
    pub(crate) committed: bool,
    pub(crate) clock: Clock,
    pub(crate) deadline_missed: Option<Millis>,
    /// An operator has taken note of the missed deadline.
    pub(crate) deadline_seen: bool,
    pub(crate) paused: Option<Millis>,
    pub(crate) runs: Vec<Run>,
    pub(crate) expires_ms: Vec<Option<u64>>,
}

impl State {
    /// Returns the state of a saga that has just been started: its first steps are due.
    #[must_use]
    pub fn start(plan: &Plan, start: &Start) -> Self {
        let positions = plan.steps().len() + usize::from(plan.epilogue().is_some());
        let runs = (0..positions)
            .map(|i| Run::first(u16::try_from(i).expect("bounded by the plan")))
            .collect();
        let mut state = Self {
            phase: Phase::Running,
            reason: None,
            failed_step: None,
            error: None,
            // With nothing before it, the commit point is passed from the start.
            committed: plan.steps().iter().all(|step| step.zone == Zone::Retriable),
            clock: Clock::Running {
                until: start.at.plus(start.deadline_ms),
            },
            deadline_missed: None,
            deadline_seen: false,
            paused: None,
            runs,
            expires_ms: start.expires_ms.clone(),
        };
        state.advance(plan, start.at);
        state
    }

    /// Lets the decoded forms of replies go, of a saga that waits for long: the text is what counts.
    pub fn forget_decoded(&mut self) {
        for run in &mut self.runs {
            for op in [&mut run.action, &mut run.compensation] {
                if let OpState::Succeeded(reply) = op {
                    reply.forget_decoded();
                }
            }
        }
    }

    /// Marks every open operation as possibly called by a process that is gone. To be called once after a load.
    pub fn recovered(&mut self) {
        for run in &mut self.runs {
            for op in [&mut run.action, &mut run.compensation] {
                if let Some(open) = op.open_mut() {
                    open.unresolved = true;
                    open.not_seen = false;
                }
            }
        }
    }

    /// Tells whether a load changes nothing: every open operation may have been called already, as far as is known.
    #[must_use]
    pub fn is_same_after_load(&self) -> bool {
        let ops = self.runs.iter().flat_map(|run| [&run.action, &run.compensation]);
        let mut open = ops.filter_map(OpState::open);
        open.all(|open| open.unresolved && !open.not_seen)
    }

    /// Returns where the saga is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns why it unwinds, if it does.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns the step that made it unwind, if one did.
    #[must_use]
    pub fn failed_step(&self) -> Option<u16> {
        self.failed_step
    }

    /// Returns the error that made it unwind, if there was one.
    #[must_use]
    pub fn error(&self) -> Option<&StepError> {
        self.error.as_ref()
    }

    /// Tells whether the commit point is passed.
    #[must_use]
    pub fn committed(&self) -> bool {
        self.committed
    }

    /// Returns the deadline's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Returns since when an operator holds back its calls, if one does.
    #[must_use]
    pub fn paused(&self) -> Option<Millis> {
        self.paused
    }

    /// Returns the state of every (step, index), the epilogue last.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the reply of a step's action, if it succeeded.
    #[must_use]
    pub fn reply(&self, step: u16) -> Option<&Payload> {
        match &self.run(step, 0)?.action {
            OpState::Succeeded(reply) => Some(reply),
            OpState::NotStarted
            | OpState::Open(_)
            | OpState::Refused(_)
            | OpState::Abandoned
            | OpState::Skipped => None,
        }
    }

    /// Returns the state of one operation.
    #[must_use]
    pub fn op(&self, key: OpKey) -> Option<&OpState> {
        let run = self.run(key.step, key.index)?;
        Some(match key.op {
            Op::Action => &run.action,
            Op::Compensation => &run.compensation,
        })
    }

    /// Tells whether a cancel or the deadline may still turn the saga round (rule 2).
    #[must_use]
    pub fn cancellable(&self, plan: &Plan) -> bool {
        let pivot_untouched = plan
            .pivot()
            .and_then(|pivot| self.run(pivot, 0))
            .is_none_or(|run| run.action == OpState::NotStarted);
        self.phase == Phase::Running && !self.committed && pivot_untouched
    }

    /// Returns everything a person should look at.
    pub fn attention(&self) -> impl Iterator<Item = Attention> + '_ {
        let deadline = self
            .deadline_missed
            .filter(|_| self.phase == Phase::Running && !self.deadline_seen)
            .map(|since| Attention {
                cause: Cause::DeadlinePassed,
                step: None,
                since,
            });
        let operations = self.live_runs().iter().flat_map(|run| {
            [&run.action, &run.compensation].into_iter().filter_map(|op| {
                let (cause, since) = op.open()?.attention?;
                Some(Attention {
                    cause,
                    step: Some(run.step),
                    since,
                })
            })
        });
        // Of interest after the end, too: nobody undoes what it did.
        let late = self.runs.iter().filter(|run| !run.late_seen).filter_map(|run| {
            let (_, since) = run.late.as_ref()?;
            Some(Attention {
                cause: Cause::LateSuccess,
                step: Some(run.step),
                since: *since,
            })
        });
        deadline.into_iter().chain(operations).chain(late)
    }

    /// Returns the calls that the state asks for; none while the saga is paused. Those in flight are among them; the
    /// caller knows which.
    pub fn due<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Due> + 'a {
        let wanted = self.wanted(plan).filter(|_| self.paused.is_none());
        wanted.map(move |(key, open)| {
            let step = plan.steps().get(usize::from(key.step));
            let timeout_ms = match (step, key.op) {
                (Some(step), Op::Action) => step.timeout_ms,
                (Some(step), Op::Compensation) => step.compensation_timeout_ms,
                (None, _) => plan.epilogue().map_or(0, |e| e.timeout_ms),
            };
            Due {
                key,
                attempt: open.attempt,
                not_before: open.next_at,
                timeout_ms,
                refusable: plan.refusable(key),
                pending: open.pending,
                probe: open.asks_probe(plan, key),
            }
        })
    }

    /// Returns the runs that may still change: none once the saga has ended, whatever an operator left open.
    pub(crate) fn live_runs(&self) -> &[Run] {
        if self.phase.is_ended() { &[] } else { &self.runs }
    }

    /// Returns when the passing of time alone changes something: deadline, expiry, end of a drain.
    #[must_use]
    pub fn alarm_at(&self, plan: &Plan) -> Option<Millis> {
        if self.phase.is_ended() {
            return None;
        }
        let deadline = match self.clock {
            Clock::Running { until } if self.phase == Phase::Running && self.deadline_missed.is_none() => {
                Some(until)
            }
            Clock::Running { .. } | Clock::Stopped { .. } => None,
        };
        let cancellable = self.cancellable(plan);
        let open = self.runs.iter().filter_map(|run| run.action.open());
        let expires = open.filter(|_| cancellable).filter_map(|open| open.expires_at);
        let drained = self.runs.iter().filter_map(Run::drain_until);
        drained.chain(expires).chain(deadline).min()
    }

    /// Tells whether a run may have had an effect that its compensation must undo.
    pub(crate) fn wants_compensation(&self, plan: &Plan, run: &Run) -> bool {
        let may_have_run = match run.action {
            OpState::Succeeded(_) | OpState::Abandoned => true,
            OpState::NotStarted | OpState::Open(_) | OpState::Refused(_) | OpState::Skipped => false,
        };
        may_have_run
            && plan
                .steps()
                .get(usize::from(run.step))
                .is_some_and(|s| s.compensated)
    }

    /// Tells whether unwinding has nothing left to do for a run.
    pub(crate) fn settled(&self, plan: &Plan, run: &Run) -> bool {
        let over = run.action.open().is_none() && run.watched_until.is_none();
        over && (run.compensation.done() || !self.wants_compensation(plan, run))
    }

    pub(crate) fn run(&self, step: u16, index: u32) -> Option<&Run> {
        // Runs stand at their step's position as long as nothing is fanned out.
        self.runs
            .get(usize::from(step))
            .filter(|run| run.step == step && run.index == index)
    }
}
