//! What becomes of a call whose effect is outside the database, without I/O.
//!
//! [`action`] and [`compensation`] refine what [`crate::decide`] says by the claims they find; [`after_query`] goes on
//! from what the outside answered; [`record`] says what becomes of a result. All four are total.

use rpc::step::Op;

use crate::decide::{self, ActionRow, Decision, Own, State};

/// What the clock of the database says about the latest claim of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// There never was one: no call has left.
    None,
    /// A call may be on its way, and may still start.
    Live,
    /// No call starts under it any more, but one that did may still take effect.
    Ended,
    /// Whatever was sent under it has happened by now, or never will.
    Quiet,
}

impl Claim {
    /// Every state of a claim.
    pub const ALL: [Self; 4] = [Self::None, Self::Live, Self::Ended, Self::Quiet];
}

/// What to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Take the first claim in this transaction, commit, then call the outside.
    Call,
    /// Commit, then ask the outside what has happened; [`after_query`] goes on.
    Query,
    /// Commit what was decided so far, and answer "ask again".
    Wait,
    /// Nothing to undo: store and answer an empty reply.
    Settle,
    /// Answer from the row; never [`Decision::Work`] or [`Decision::NothingToUndo`].
    Replay(Decision),
}

/// Decides about the call of an action.
#[must_use]
pub const fn action(own: Own, claim: Claim) -> Plan {
    match decide::action(own) {
        Decision::Work { .. } => claimed(claim),
        Decision::NothingToUndo => Plan::Settle,
        decision @ (Decision::StoredReply
        | Decision::StoredRefusal
        | Decision::Superseded
        | Decision::Mismatch) => Plan::Replay(decision),
    }
}

/// Decides about the call of a compensation, which found these rows and claims of the action and of its own.
///
/// An action that is pending becomes superseded in the same transaction: no claim of it is taken afterwards.
#[must_use]
pub const fn compensation(action: ActionRow, action_claim: Claim, own: Own, own_claim: Claim) -> Plan {
    match decide::compensation(action, own) {
        Decision::Work { .. } => match (action, action_claim) {
            (ActionRow::Found(State::Succeeded), _) => claimed(own_claim),
            // Nothing was ever sent, and nothing will be.
            (ActionRow::Taken | ActionRow::Found(State::Refused), _)
            | (ActionRow::Found(State::Pending | State::Superseded), Claim::None) => Plan::Settle,
            (ActionRow::Found(State::Pending | State::Superseded), Claim::Live | Claim::Ended) => Plan::Wait,
            (ActionRow::Found(State::Pending | State::Superseded), Claim::Quiet) => match own_claim {
                Claim::None | Claim::Ended | Claim::Quiet => Plan::Query,
                Claim::Live => Plan::Wait,
            },
        },
        Decision::NothingToUndo => Plan::Settle,
        decision @ (Decision::StoredReply
        | Decision::StoredRefusal
        | Decision::Superseded
        | Decision::Mismatch) => Plan::Replay(decision),
    }
}

const fn claimed(claim: Claim) -> Plan {
    match claim {
        Claim::None => Plan::Call,
        Claim::Live => Plan::Wait,
        Claim::Ended | Claim::Quiet => Plan::Query,
    }
}

/// What the outside answered about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// It has happened.
    Happened,
    /// The outside has it and is not done.
    Running,
    /// It has not happened: an action that the outside does not know, an effect that stands and is to be undone.
    Due,
    /// The outside refused the action for good.
    Refused,
    /// There is nothing to undo.
    Nothing,
}

impl Sight {
    /// Every sight.
    pub const ALL: [Self; 5] = [
        Self::Happened,
        Self::Running,
        Self::Due,
        Self::Refused,
        Self::Nothing,
    ];
}

/// What to do after the outside was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Record the result.
    Record,
    /// Record the refusal.
    Refuse,
    /// Take the next claim if nobody else has, then call the outside.
    Call,
    /// Store and answer an empty reply.
    Settle,
    /// Answer "ask again".
    Wait,
}

/// Decides what follows from the outside's answer.
///
/// `claim` is what was found before the outside was asked; only a claim that was quiet by then lets "it has not
/// happened" mean "it will not happen by what was sent before".
#[must_use]
pub const fn after_query(op: Op, sight: Sight, claim: Claim, refusable: bool) -> Next {
    let over = matches!(claim, Claim::None | Claim::Quiet);
    match (sight, op) {
        (Sight::Happened, _) => Next::Record,
        (Sight::Running, _) => Next::Wait,
        (Sight::Refused, Op::Action) if refusable => Next::Refuse,
        // What cannot be refused is called again: a remembered "no" heals only by being asked again.
        (Sight::Due, _) | (Sight::Refused, Op::Action) => {
            if over {
                Next::Call
            } else {
                Next::Wait
            }
        }
        (Sight::Nothing, Op::Compensation) | (Sight::Refused, Op::Compensation) => {
            if over {
                Next::Settle
            } else {
                Next::Wait
            }
        }
        (Sight::Nothing, Op::Action) => Next::Wait,
    }
}

/// How far the compensation of an action has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Undoing {
    /// It has not come, or goes on: it will ask the outside.
    Open,
    /// It has undone the effect.
    Undone,
    /// It has settled without undoing anything.
    Settled,
}

impl Undoing {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Undone, Self::Settled];
}

/// What to do with a result (or a refusal) of the outside, given the row that the last transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// Store it and answer it.
    Keep,
    /// Somebody was faster: answer what is stored.
    Stored,
    /// Answer `SUPERSEDED`.
    Drop,
    /// Answer `SUPERSEDED`, and remember the success until the compensation has undone it.
    Remember,
    /// A success that the saga has given up, and that nobody will undo: remember it, and answer it.
    Late,
}

/// Decides about a result.
#[must_use]
pub const fn record(state: State, success: bool, undoing: Undoing) -> Record {
    match (state, success, undoing) {
        (State::Pending, _, _) => Record::Keep,
        (State::Succeeded, _, _) | (State::Refused, false, _) => Record::Stored,
        (State::Superseded, false, _) | (State::Superseded, true, Undoing::Undone) => Record::Drop,
        (State::Superseded, true, Undoing::Open) => Record::Remember,
        // With a refused action the outside has broken its word; what it did must not be forgotten.
        (State::Superseded, true, Undoing::Settled) | (State::Refused, true, _) => Record::Late,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
