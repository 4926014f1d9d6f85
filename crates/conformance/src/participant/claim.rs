//! What a participant has to keep, in words.

/// One claim about a participant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    Answers,
    Repeated,
    AtOnce,
    OtherRequest,
    OtherOperation,
    Undone,
    UndoneAgain,
    ActionAfter,
    NothingToUndo,
    Late,
    Race,
    Refused,
    RefusedAgain,
    NothingRefusedToUndo,
    NotRefusable,
    Bare,
    Restart,
    Pending,
}

pub(super) const ALL: [Claim; 18] = [
    Claim::Answers,
    Claim::Repeated,
    Claim::AtOnce,
    Claim::OtherRequest,
    Claim::OtherOperation,
    Claim::Undone,
    Claim::UndoneAgain,
    Claim::ActionAfter,
    Claim::NothingToUndo,
    Claim::Late,
    Claim::Race,
    Claim::Refused,
    Claim::RefusedAgain,
    Claim::NothingRefusedToUndo,
    Claim::NotRefusable,
    Claim::Bare,
    Claim::Restart,
    Claim::Pending,
];

impl Claim {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Answers => "the action succeeds",
            Self::Repeated => "a repeated action gets the stored reply",
            Self::AtOnce => "an action sent 8 times at once happens once",
            Self::OtherRequest => "the same key with another request is a mismatch",
            Self::OtherOperation => "another step or index is another operation",
            Self::Undone => "the compensation undoes the action",
            Self::UndoneAgain => "a repeated compensation gets the same reply",
            Self::ActionAfter => "an action repeated after its compensation has no effect",
            Self::NothingToUndo => "a compensation without its action succeeds",
            Self::Late => "an action later than its compensation is superseded",
            Self::Race => "action and compensation at once leave nothing",
            Self::Refused => "a refusal is in the participant's name and marked",
            Self::RefusedAgain => "a repeated refusal is the same",
            Self::NothingRefusedToUndo => "the compensation of a refused action succeeds",
            Self::NotRefusable => "a refusal that cannot be acted on is not stored",
            Self::Bare => "a call without metadata is no step",
            Self::Restart => "a reply outlives a restart",
            Self::Pending => "answers that are not final say when to ask again",
        }
    }

    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Answers => "give a --request that succeeds; see the participant's log",
            Self::Repeated | Self::AtOnce => {
                "insert a row for (saga, step, index, op) in the transaction of the work, keep the reply in it, and answer from it"
            }
            Self::OtherRequest => {
                "keep the SHA-256 of the request in the barrier's row; another one is ABORTED, reason BARRIER_MISMATCH"
            }
            Self::OtherOperation => "the key is all of (saga, step, index, op)",
            Self::Undone => "the compensation must succeed in the end, whatever it finds",
            Self::UndoneAgain => "a compensation has a row of its own in the barrier, with its reply",
            Self::ActionAfter => "keep the action's row when it is compensated",
            Self::NothingToUndo => {
                "insert the action's row as superseded first; if it was not there, there is nothing to undo: answer OK"
            }
            Self::Late => {
                "a compensation leaves the action's row behind as superseded; an action that finds it is ABORTED, reason SUPERSEDED"
            }
            Self::Race => {
                "a compensation inserts the action's row before its own: this waits for an action under way"
            }
            Self::Refused => {
                "answer a refusing code with ErrorInfo.domain = --error-domain, and the trailer evenkeel-barrier: stored"
            }
            Self::RefusedAgain => {
                "roll the work back, but keep the refusal in the barrier's row, and answer from it"
            }
            Self::NothingRefusedToUndo => "a refused action left nothing to undo: answer OK",
            Self::NotRefusable => {
                "if evenkeel-refusable is false, roll back, answer the no, store nothing, mark nothing"
            }
            Self::Bare => "answer INVALID_ARGUMENT, reason STEP_METADATA_INVALID, before any work",
            Self::Restart => "keep the barrier's rows where the work's effects are kept",
            Self::Pending => "evenkeel-pending-ms is a number of milliseconds",
        }
    }
}
