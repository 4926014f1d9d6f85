//! Rules that the simulated journal and participants can break, to see that the simulation notices.

/// One rule of DESIGN section 4 less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// 5: a repeated action runs again.
    RepeatedActionRunsAgain,
    /// 5: a compensation without an action takes no place.
    NullCompensationLeavesNoRow,
    /// 5: an action that finds its place taken runs.
    LateActionRuns,
    /// 5: a refusal is answered for good and not stored.
    RefusalIsNotStored,
    /// 7: a lost write is said to be durable.
    LostWriteIsDurable,
    /// 8: the journal does not ask for the epoch.
    NothingIsFenced,
}
