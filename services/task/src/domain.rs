//! The states of tasks and runs, and how they may change. Pure.

use proto::task::v1 as pb;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// It exists; its pipeline has not begun.
    Pending,
    /// Its pipeline runs, or has run and waits for its quota to be consumed.
    Processing,
    /// It has its result.
    Completed,
    /// It will not complete; its quota is on its way back.
    Failing,
    /// It did not complete, and its quota is back.
    Failed,
    /// It was stopped on request, and its quota is back.
    Cancelled,
}

/// The changes that exist. Everything else is impossible.
///
/// `failed` and `cancelled` are reached from `failing` only, and `failing` from every state before the commit point:
/// that is why no reader sees a task failed before its quota is back.
const CHANGES: [(TaskState, TaskState); 6] = [
    (TaskState::Pending, TaskState::Processing),
    (TaskState::Pending, TaskState::Failing),
    (TaskState::Processing, TaskState::Completed),
    (TaskState::Processing, TaskState::Failing),
    (TaskState::Failing, TaskState::Failed),
    (TaskState::Failing, TaskState::Cancelled),
];

/// What a wanted change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// To be made.
    Make,
    /// Made before.
    Made,
    /// There is no such change.
    Impossible,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Processing,
        Self::Completed,
        Self::Failing,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failing => "failing",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Judges a change to another state.
    #[must_use]
    pub fn change_to(self, to: Self) -> Change {
        if self == to {
            Change::Made
        } else if CHANGES.contains(&(self, to)) {
            Change::Make
        } else {
            Change::Impossible
        }
    }

    /// Tells whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        CHANGES.iter().all(|(from, _)| *from != self)
    }

    /// Returns the state on the wire.
    #[must_use]
    pub const fn wire(self) -> pb::TaskState {
        match self {
            Self::Pending => pb::TaskState::Pending,
            Self::Processing => pb::TaskState::Processing,
            Self::Completed => pb::TaskState::Completed,
            Self::Failing => pb::TaskState::Failing,
            Self::Failed => pb::TaskState::Failed,
            Self::Cancelled => pb::TaskState::Cancelled,
        }
    }

    /// Reads a state from the wire; `None` for "unspecified".
    #[must_use]
    pub const fn from_wire(state: pb::TaskState) -> Option<Self> {
        match state {
            pb::TaskState::Unspecified => None,
            pb::TaskState::Pending => Some(Self::Pending),
            pb::TaskState::Processing => Some(Self::Processing),
            pb::TaskState::Completed => Some(Self::Completed),
            pb::TaskState::Failing => Some(Self::Failing),
            pb::TaskState::Failed => Some(Self::Failed),
            pb::TaskState::Cancelled => Some(Self::Cancelled),
        }
    }
}

/// Where a pipeline run is in its life. All but the first are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Steps are carried out, or wait for their time.
    Running,
    /// The last step succeeded.
    Completed,
    /// A step failed for good.
    Failed,
    /// The saga unwinds.
    Stopped,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Running, Self::Completed, Self::Failed, Self::Stopped];

    /// Returns the name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Cause of an unwinding saga that makes the task `cancelled` instead of `failed`.
const CANCELLED: &str = "CANCELLED";

/// Returns the state a failing task ends in, by the reason of its saga.
#[must_use]
pub fn end_of(cause: &str) -> TaskState {
    if cause == CANCELLED {
        TaskState::Cancelled
    } else {
        TaskState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wire_values_read_back() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_name(state.name()), Some(state));
            assert_eq!(TaskState::from_wire(state.wire()), Some(state));
        }
        for state in RunState::ALL {
            assert_eq!(RunState::from_name(state.name()), Some(state));
        }
    }

    #[test]
    fn only_failing_tasks_become_failed_or_cancelled() {
        for from in TaskState::ALL {
            for to in [TaskState::Failed, TaskState::Cancelled] {
                let allowed = from.change_to(to) == Change::Make;
                assert_eq!(allowed, from == TaskState::Failing, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn final_states_never_change() {
        let finals = [TaskState::Completed, TaskState::Failed, TaskState::Cancelled];
        for from in TaskState::ALL {
            assert_eq!(from.is_final(), finals.contains(&from));
            if from.is_final() {
                assert!(
                    TaskState::ALL
                        .into_iter()
                        .all(|to| from.change_to(to) != Change::Make)
                );
            }
        }
    }

    #[test]
    fn a_repeated_change_is_no_change() {
        assert_eq!(TaskState::Failing.change_to(TaskState::Failing), Change::Made);
        assert_eq!(
            TaskState::Completed.change_to(TaskState::Failing),
            Change::Impossible
        );
    }

    #[test]
    fn only_a_cancelled_saga_makes_a_cancelled_task() {
        assert_eq!(end_of("CANCELLED"), TaskState::Cancelled);
        for cause in ["REFUSED", "TIMEOUT", "OPERATOR", "EXHAUSTED", ""] {
            assert_eq!(end_of(cause), TaskState::Failed);
        }
    }
}
