//! What can happen to a saga.

use std::sync::Arc;

use crate::event::{Actor, FailureClass, StepError};
use crate::operator::OperatorAction;
use crate::{Millis, OpKey, Payload};

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
    /// No call was made: the condition of the step does not hold. It must follow from the saga's input and the replies
    /// alone, so that it never holds at one attempt and fails at another.
    Skipped,
    /// Only from a probe: the participant has never seen the operation.
    NotSeen,
    /// Anything else.
    Failed {
        /// What kind; never [`FailureClass::CannotBeRefused`], which is decided here.
        class: FailureClass,
        /// What was said.
        error: StepError,
    },
}

/// A final answer for an operation, whatever the attempt: by completion token, or by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// It succeeded, with this reply.
    Succeeded(Payload),
    /// It definitely has no effect and never will.
    Failed(StepError),
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Call at once what waits for its next attempt: one operation, or all.
    RetryNow(Option<OpKey>),
    /// The open operation has succeeded, with this reply.
    ResolveSucceeded(OpKey, Payload),
    /// The open action has no effect and never will; the saga unwinds.
    ResolveFailed(OpKey),
    /// Leave out an operation that cannot be refused.
    Skip(OpKey),
    /// Unwind.
    Compensate,
    /// End the saga as it is.
    Resolve,
    /// Make no calls until [`Command::Resume`].
    Pause,
    /// Make calls again.
    Resume,
    /// Take note of what needs attention, and change nothing else.
    Acknowledge,
}

impl Command {
    /// Returns what kind of action it is.
    #[must_use]
    pub const fn action(&self) -> OperatorAction {
        match self {
            Self::RetryNow(_) => OperatorAction::RetryNow,
            Self::ResolveSucceeded(..) => OperatorAction::ResolveSucceeded,
            Self::ResolveFailed(_) => OperatorAction::ResolveFailed,
            Self::Skip(_) => OperatorAction::Skip,
            Self::Compensate => OperatorAction::Compensate,
            Self::Resolve => OperatorAction::Resolve,
            Self::Pause => OperatorAction::Pause,
            Self::Resume => OperatorAction::Resume,
            Self::Acknowledge => OperatorAction::Acknowledge,
        }
    }

    /// Returns the operation it concerns; none if it concerns the saga as a whole.
    #[must_use]
    pub const fn key(&self) -> Option<OpKey> {
        match self {
            Self::RetryNow(key) => *key,
            Self::ResolveSucceeded(key, _) | Self::ResolveFailed(key) | Self::Skip(key) => Some(*key),
            Self::Compensate | Self::Resolve | Self::Pause | Self::Resume | Self::Acknowledge => None,
        }
    }
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
    /// An operation was answered for good, other than in reply to an attempt.
    Completed {
        /// Which operation.
        key: OpKey,
        /// With what.
        result: Completion,
    },
    /// Somebody wants the saga undone.
    Cancel {
        /// Who.
        actor: Actor,
        /// Why, in words.
        note: StepError,
    },
    /// An operator acts.
    Operator {
        /// Who.
        actor: Actor,
        /// Why.
        note: Arc<str>,
        /// What proves it; empty where none is needed.
        evidence: Arc<str>,
        /// What.
        command: Command,
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
    /// The operation was not called yet, so nobody can have been asked to answer.
    #[error("the operation does not wait for an answer yet")]
    NotOpen,
    /// The outcome of the operation is recorded already.
    #[error("the operation has its answer already")]
    Answered,
    /// The saga no longer waits for the operation.
    #[error("the operation was given up")]
    GivenUp,
    /// The pivot may have started, or the commit point is passed (rule 2).
    #[error("the saga is past the point where it could be undone")]
    PastCommitPoint,
    /// It unwinds already.
    #[error("the saga unwinds already")]
    AlreadyUnwinding,
    /// The state does not allow what the operator wants.
    #[error("the state of the saga does not allow this")]
    NotAllowed,
    /// It has ended.
    #[error("the saga has ended")]
    Ended,
}
