//! What is made durable: the vocabulary of the journal.

use std::sync::Arc;

use crate::operator::OperatorAction;
use crate::{Millis, OpKey, Payload};

/// Where a saga is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Going forward.
    Running,
    /// Unwinding.
    Compensating,
    /// Ended: every step succeeded.
    Completed,
    /// Ended: everything that may have happened was undone.
    Compensated,
    /// Ended by an operator's decision.
    Resolved,
}

impl Phase {
    /// Tells whether nothing will change any more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Running | Self::Compensating => false,
            Self::Completed | Self::Compensated | Self::Resolved => true,
        }
    }

    /// Returns the name that operators read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Completed => "COMPLETED",
            Self::Compensated => "COMPENSATED",
            Self::Resolved => "RESOLVED",
        }
    }
}

/// Why a saga unwinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A participant definitely said no.
    Refused,
    /// The deadline, or the `expires` of a step, passed before the commit point.
    Timeout,
    /// Somebody asked for it.
    Cancelled,
    /// An operator decided it.
    Operator,
    /// A compensatable step used up its retries without a definite answer.
    Exhausted,
}

impl Reason {
    /// Returns the name that operators read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "REFUSED",
            Self::Timeout => "TIMEOUT",
            Self::Cancelled => "CANCELLED",
            Self::Operator => "OPERATOR",
            Self::Exhausted => "EXHAUSTED",
        }
    }
}

/// Why a person should look. The saga goes on by itself where it can (rule 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A participant said no to an operation that cannot be refused.
    CannotBeRefused,
    /// The participant has been unreachable for long.
    Unreachable,
    /// Attempts keep failing without a definite answer.
    KeepsFailing,
    /// The participant does not let us in, or does not have the method.
    Misconfigured,
    /// The deadline passed after the commit point.
    DeadlinePassed,
    /// An action that was given up has succeeded after all.
    LateSuccess,
    /// Handling this saga failed inside the orchestrator; it is parked.
    Quarantined,
}

impl Cause {
    /// Returns the name that operators read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CannotBeRefused => "CANNOT_BE_REFUSED",
            Self::Unreachable => "UNREACHABLE",
            Self::KeepsFailing => "KEEPS_FAILING",
            Self::Misconfigured => "MISCONFIGURED",
            Self::DeadlinePassed => "DEADLINE_PASSED",
            Self::LateSuccess => "LATE_SUCCESS",
            Self::Quarantined => "QUARANTINED",
        }
    }
}

/// What a participant said, or what kept it from saying anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepError {
    /// gRPC status code by name.
    pub code: Arc<str>,
    /// Reason code; empty if none was given.
    pub reason: Arc<str>,
    /// Who defines the reason; empty if none was given.
    pub domain: Arc<str>,
    /// Text for people.
    pub message: Arc<str>,
}

/// What kind of failure an attempt met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// It may or may not have had its effect.
    Unknown,
    /// It never left: certainly no effect. Does not use up a retry.
    Unsent,
    /// Not let in, or no such method. Does not use up a retry.
    Misconfigured,
    /// A "no" to something that cannot be refused (rule 5).
    CannotBeRefused,
    /// A probe said that the participant has never seen the operation. An attempt may still be on its way.
    NotSeen,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Unsent,
        Self::Misconfigured,
        Self::CannotBeRefused,
        Self::NotSeen,
    ];

    /// Returns the name that the journal keeps.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unsent => "unsent",
            Self::Misconfigured => "misconfigured",
            Self::CannotBeRefused => "cannot_be_refused",
            Self::NotSeen => "not_seen",
        }
    }

    /// Reads the name that the journal keeps.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// What was said.
    pub error: StepError,
    /// When the next attempt may start; `None` if there is none because the saga unwinds.
    pub next_at: Option<Millis>,
}

/// One durable fact about a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation succeeded, for good.
    Succeeded {
        /// Which.
        key: OpKey,
        /// The attempt that brought the answer.
        attempt: u32,
        /// What it answered.
        reply: Payload,
    },
    /// An action definitely had no effect, and never will.
    Refused {
        /// Which.
        key: OpKey,
        /// The attempt that brought the answer.
        attempt: u32,
        /// What was said.
        error: StepError,
    },
    /// An attempt failed without a final answer.
    Failed {
        /// Which.
        key: OpKey,
        /// Its number; the next attempt has the next one.
        attempt: u32,
        /// How, and what comes next.
        failure: Failure,
    },
    /// The participant works on it and is to be asked again. Recorded once, not for every time it is asked.
    Pending {
        /// Which.
        key: OpKey,
        /// The attempt that brought the answer.
        attempt: u32,
    },
    /// An action that was in flight when unwinding began ended, or outlived its timeout, without an answer. If an
    /// operator has written it off, it stays refused.
    Abandoned {
        /// Which.
        key: OpKey,
    },
    /// An operation was left out: the condition of its step does not hold, or an operator decided it. For everything
    /// that waits for it, it is done; it has no reply and is never undone.
    Skipped {
        /// Which.
        key: OpKey,
    },
    /// An action that was given up has succeeded after all (rule 6). Its compensation was not told.
    LateSuccess {
        /// Which.
        key: OpKey,
        /// What it answered.
        reply: Payload,
    },
    /// An operator acted. Comes first in its transition; the events that follow from it come after it, with the same
    /// actor.
    Operator {
        /// What was done.
        action: OperatorAction,
        /// The operation concerned; none for the saga as a whole.
        key: Option<OpKey>,
        /// Why.
        note: Arc<str>,
        /// What proves it; empty where none was needed.
        evidence: Arc<str>,
    },
    /// The saga turns round (rule 3).
    Unwinding {
        /// Why.
        reason: Reason,
        /// The step that caused it, if one did.
        failed_step: Option<u16>,
        /// What was said, if anything.
        error: Option<StepError>,
        /// Actions with an attempt in flight: waited for up to their timeout before they are compensated.
        in_flight: Vec<OpKey>,
    },
    /// The commit point is passed: only forward from here (rule 2).
    Committed,
    /// The deadline passed after the commit point.
    DeadlineMissed,
    /// The saga has ended. Not a row of its own in the journal: it is the saga's phase.
    Ended {
        /// How.
        phase: Phase,
    },
}

/// Who caused an event.
pub type Actor = Arc<str>;

/// An event with its instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When the orchestrator decided it.
    pub at: Millis,
    /// The person or service that caused it, where there is one.
    pub actor: Option<Actor>,
    /// What.
    pub event: Event,
}

impl Recorded {
    /// Pairs an event with its instant.
    #[must_use]
    pub fn new(at: Millis, actor: Option<Actor>, event: Event) -> Self {
        Self { at, actor, event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_failure_class_can_be_read_back() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
        assert_eq!(FailureClass::from_name("UNKNOWN"), None);
    }

    /// The journal's views promise these to operators.
    #[test]
    fn the_names_that_operators_read_do_not_change() {
        let phases = [
            Phase::Running,
            Phase::Compensating,
            Phase::Completed,
            Phase::Compensated,
            Phase::Resolved,
        ];
        let expected = ["RUNNING", "COMPENSATING", "COMPLETED", "COMPENSATED", "RESOLVED"];
        assert_eq!(phases.map(Phase::name), expected);
        let reasons = [
            Reason::Refused,
            Reason::Timeout,
            Reason::Cancelled,
            Reason::Operator,
            Reason::Exhausted,
        ];
        let expected = ["REFUSED", "TIMEOUT", "CANCELLED", "OPERATOR", "EXHAUSTED"];
        assert_eq!(reasons.map(Reason::name), expected);
        let causes = [
            Cause::CannotBeRefused,
            Cause::Unreachable,
            Cause::KeepsFailing,
            Cause::Misconfigured,
            Cause::DeadlinePassed,
            Cause::LateSuccess,
            Cause::Quarantined,
        ];
        let expected = [
            "CANNOT_BE_REFUSED",
            "UNREACHABLE",
            "KEEPS_FAILING",
            "MISCONFIGURED",
            "DEADLINE_PASSED",
            "LATE_SUCCESS",
            "QUARANTINED",
        ];
        assert_eq!(causes.map(Cause::name), expected);
    }
}
