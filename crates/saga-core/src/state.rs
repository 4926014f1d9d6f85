//! The state of one saga, and what follows from it.

use crate::event::{Cause, FailureClass, Phase, Reason, StepError};
use crate::plan::{Plan, Zone};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// An operation that may have been called and has no final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Number of the attempt that is due or in flight, from 1.
    pub attempt: u32,
    /// Failures in a row that may have had an effect.
    pub failures: u32,
    /// Failures in a row that certainly had none.
    pub unsent: u32,
    /// An earlier attempt may still take effect, so an unmarked refusal proves nothing (rule 1).
    pub unresolved: bool,
    /// When the attempt may start; at once if absent.
    pub next_at: Option<Millis>,
    /// The participant works on it.
    pub pending: bool,
    /// A probe said that the participant has never seen it, and nothing may have reached it since.
    pub not_seen: bool,
    /// When a step that waits for a person gives up.
    pub expires_at: Option<Millis>,
    /// While unwinding: an attempt was in flight, and is waited for until then.
    pub drain_until: Option<Millis>,
    /// Why a person should look, and since when.
    pub attention: Option<(Cause, Millis)>,
    /// The latest failure.
    pub last_error: Option<StepError>,
}

/// Where one operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpState {
    /// Not started, and perhaps never will be.
    NotStarted,
    /// May have been called; no final answer.
    Open(Box<Open>),
    /// Done, for good.
    Succeeded(Payload),
    /// Definitely without effect.
    Refused(StepError),
    /// Given up without an answer; its compensation takes care of it.
    Abandoned,
    /// Left out, for good.
    Skipped,
}

impl OpState {
    /// Returns the open part, if it is open.
    #[must_use]
    pub fn open(&self) -> Option<&Open> {
        match self {
            Self::Open(open) => Some(open),
            Self::NotStarted | Self::Succeeded(_) | Self::Refused(_) | Self::Abandoned | Self::Skipped => {
                None
            }
        }
    }

    pub(crate) fn open_mut(&mut self) -> Option<&mut Open> {
        match self {
            Self::Open(open) => Some(open),
            Self::NotStarted | Self::Succeeded(_) | Self::Refused(_) | Self::Abandoned | Self::Skipped => {
                None
            }
        }
    }

    /// Tells whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }

    /// Tells whether nothing needs to be done about it any more: it succeeded, or was left out.
    #[must_use]
    pub fn done(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Skipped)
    }
}

/// State of one (step, index).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Position of the step.
    pub step: u16,
    /// Index of a fanned-out step; 0 otherwise.
    pub index: u32,
    /// Its action.
    pub action: OpState,
    /// Its compensation.
    pub compensation: OpState,
    /// The success of the action that came after it was given up, and when.
    pub late: Option<(Payload, Millis)>,
    /// An operator has taken note of the late success.
    pub late_seen: bool,
    /// An operator declared that the action has no effect and never will; a success is late from then on.
    pub written_off: bool,
}

impl Run {
    /// Tells whether the saga goes on without an answer of the action, so that a success comes too late.
    pub(crate) fn is_given_up(&self) -> bool {
        match self.action {
            OpState::Abandoned => true,
            OpState::Refused(_) => self.written_off,
            OpState::NotStarted | OpState::Open(_) | OpState::Succeeded(_) | OpState::Skipped => false,
        }
    }
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
    /// The participant is to be asked what became of the action, instead of being called again.
    pub probe: bool,
}

/// The state of one saga.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            .map(|i| Run {
                step: u16::try_from(i).expect("bounded by the plan"),
                index: 0,
                action: OpState::NotStarted,
                compensation: OpState::NotStarted,
                late: None,
                late_seen: false,
                written_off: false,
            })
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
                probe: plan.probes(key) && open.unresolved && !open.not_seen,
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
        open.flat_map(|o| [o.drain_until, o.expires_at.filter(|_| cancellable)])
            .flatten()
            .chain(deadline)
            .min()
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
        run.action.open().is_none() && (run.compensation.done() || !self.wants_compensation(plan, run))
    }

    pub(crate) fn run(&self, step: u16, index: u32) -> Option<&Run> {
        // Runs stand at their step's position as long as nothing is fanned out.
        self.runs
            .get(usize::from(step))
            .filter(|run| run.step == step && run.index == index)
    }
}

/// Failures in a row after which a person should look, for operations that are repeated without end. With the default
/// backoff that is about a minute of trying.
const ATTENTION_AFTER: u32 = 10;

impl Open {
    pub(crate) fn first() -> Self {
        Self {
            attempt: 1,
            failures: 0,
            unsent: 0,
            unresolved: false,
            next_at: None,
            pending: false,
            not_seen: false,
            expires_at: None,
            drain_until: None,
            attention: None,
            last_error: None,
        }
    }

    /// Returns why a person should look after one more failure of this class, if the failure is a reason.
    ///
    /// An operation with a limit of retries gets its definite end by itself, so failing is no reason there.
    pub(crate) fn concern(&self, class: FailureClass, limited: bool) -> Option<Cause> {
        match class {
            FailureClass::Unknown => {
                (!limited && self.failures >= ATTENTION_AFTER).then_some(Cause::KeepsFailing)
            }
            FailureClass::Unsent => (self.unsent >= ATTENTION_AFTER).then_some(Cause::Unreachable),
            // No hot loop: what only a person can mend is raised at once (rule 9).
            FailureClass::Misconfigured => Some(Cause::Misconfigured),
            FailureClass::CannotBeRefused => Some(Cause::CannotBeRefused),
            // An answer, and no bad one.
            FailureClass::NotSeen => None,
        }
    }
}
