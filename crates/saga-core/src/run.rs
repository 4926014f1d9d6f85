//! Where the operations of one step are.

use crate::event::{Cause, FailureClass, StepError};
use crate::plan::Plan;
use crate::{Millis, Op, OpKey, Payload};

/// An operation that may have been called and has no final answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// While unwinding: an attempt of the action was in flight when it was written off, and is waited for until then.
    pub watched_until: Option<Millis>,
}

impl Run {
    pub(crate) fn first(step: u16) -> Self {
        Self {
            step,
            index: 0,
            action: OpState::NotStarted,
            compensation: OpState::NotStarted,
            late: None,
            late_seen: false,
            written_off: false,
            watched_until: None,
        }
    }

    /// Returns the key of its action.
    pub(crate) fn action_key(&self) -> OpKey {
        OpKey {
            step: self.step,
            index: self.index,
            op: Op::Action,
        }
    }

    /// Returns until when an attempt of the action that was in flight when unwinding began is waited for.
    pub(crate) fn drain_until(&self) -> Option<Millis> {
        let drained = self.action.open().and_then(|open| open.drain_until);
        drained.or(self.watched_until)
    }

    /// Tells whether the saga goes on without an answer of the action, so that a success comes too late.
    pub(crate) fn is_given_up(&self) -> bool {
        match self.action {
            OpState::Abandoned => true,
            OpState::Refused(_) => self.written_off,
            OpState::NotStarted | OpState::Open(_) | OpState::Succeeded(_) | OpState::Skipped => false,
        }
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

    /// Tells whether the participant is asked what became of the action, rather than called again: it has a probe, an
    /// attempt may have reached it, and the probe has not denied that.
    pub(crate) fn asks_probe(&self, plan: &Plan, key: OpKey) -> bool {
        plan.probes(key) && self.unresolved && !self.not_seen
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
