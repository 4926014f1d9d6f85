//! What the barrier decides, without I/O.
//!
//! [`action`] and [`compensation`] say what to do with a call, given the rows it found and locked; [`settle`] says what
//! becomes of what the work answered, [`worker`] whether what goes on in the background is still wanted. All are total.

use rpc::step::Op;

use crate::Guard;

/// State of an operation's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The operation has begun and has no final answer yet.
    Pending,
    /// It happened; its reply is stored.
    Succeeded,
    /// It did not happen and never will; its refusal is stored.
    Refused,
    /// A compensation took its place: it must not have an effect any more.
    Superseded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Succeeded, Self::Refused, Self::Superseded];

    /// Returns the name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a call found where its own row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Nothing; this call has inserted the row now.
    Inserted,
    /// A row of an earlier call.
    Found {
        /// Its state.
        state: State,
        /// Whether it stands for the same request. A row without a digest counts as the same.
        same_request: bool,
    },
}

/// What a compensation found where its action's row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionRow {
    /// Nothing; the compensation has taken the place, so that the action can have no effect later.
    Taken,
    /// A row, in this state.
    Found(State),
}

/// What to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run the work behind a savepoint.
    Work {
        /// The operation is pending: the work looks at what it has begun.
        again: bool,
        /// The action's row, which is pending, becomes superseded first.
        supersede_action: bool,
    },
    /// Nothing to undo: store and answer an empty reply.
    NothingToUndo,
    /// Answer the stored reply.
    StoredReply,
    /// Answer the stored refusal.
    StoredRefusal,
    /// Answer `SUPERSEDED`.
    Superseded,
    /// Answer `BARRIER_MISMATCH`.
    Mismatch,
}

/// Decides about the call of an action.
#[must_use]
pub const fn action(own: Own) -> Decision {
    match own {
        Own::Inserted => Decision::Work {
            again: false,
            supersede_action: false,
        },
        Own::Found { state, same_request } => repeat(state, same_request),
    }
}

/// Decides about the call of a compensation.
#[must_use]
pub const fn compensation(action: ActionRow, own: Own) -> Decision {
    match (own, action) {
        // The first compensation has settled what becomes of the action; only its own row matters now.
        (Own::Found { state, same_request }, _) => repeat(state, same_request),
        (Own::Inserted, ActionRow::Found(State::Succeeded)) => Decision::Work {
            again: false,
            supersede_action: false,
        },
        (Own::Inserted, ActionRow::Found(State::Pending)) => Decision::Work {
            again: false,
            supersede_action: true,
        },
        // A refused action left nothing behind. A superseded one was compensated in the transaction that marked it.
        (Own::Inserted, ActionRow::Taken | ActionRow::Found(State::Refused | State::Superseded)) => {
            Decision::NothingToUndo
        }
    }
}

/// Decides about a repeated call. `Superseded` comes first: what was asked does not matter any more.
const fn repeat(state: State, same_request: bool) -> Decision {
    match (state, same_request) {
        (State::Superseded, _) => Decision::Superseded,
        (State::Pending | State::Succeeded | State::Refused, false) => Decision::Mismatch,
        (State::Pending, true) => Decision::Work {
            again: true,
            supersede_action: false,
        },
        (State::Succeeded, true) => Decision::StoredReply,
        (State::Refused, true) => Decision::StoredRefusal,
    }
}

/// What the work answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A final reply.
    Reply,
    /// Not final yet.
    Pending,
    /// A definite no.
    No,
    /// The work does not know.
    Failure,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Store the reply, commit, answer it.
    StoreReply,
    /// Leave the row pending, commit what the work wrote, answer "ask again".
    KeepPending,
    /// Roll back to the savepoint, store the refusal, commit, answer it.
    StoreRefusal,
    /// Roll everything back, answer the refusal without storing it.
    AnswerRefusal,
    /// Roll everything back, answer that the outcome is unknown.
    AnswerFailure,
}

/// Decides what becomes of an answer.
///
/// A compensation is never refused, whatever the caller says: it has to happen in the end.
#[must_use]
pub const fn settle(answer: Answer, op: Op, refusable: bool) -> Settlement {
    match (answer, op, refusable) {
        (Answer::Reply, _, _) => Settlement::StoreReply,
        (Answer::Pending, _, _) => Settlement::KeepPending,
        (Answer::No, Op::Action, true) => Settlement::StoreRefusal,
        (Answer::No, Op::Action, false) | (Answer::No, Op::Compensation, _) => Settlement::AnswerRefusal,
        (Answer::Failure, _, _) => Settlement::AnswerFailure,
    }
}

/// Tells whether a "no" to such a call is stored, so that what the work wrote has to go without it.
#[must_use]
pub const fn may_store_refusal(op: Op, refusable: bool) -> bool {
    matches!(settle(Answer::No, op, refusable), Settlement::StoreRefusal)
}

/// Decides whether the result of a worker is still wanted, given the row of its action.
#[must_use]
pub const fn worker(action: Option<State>) -> Guard {
    match action {
        Some(State::Pending | State::Succeeded) => Guard::Wanted,
        Some(State::Superseded | State::Refused) => Guard::Superseded,
        None => Guard::Absent,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESH: Decision = Decision::Work {
        again: false,
        supersede_action: false,
    };
    const AGAIN: Decision = Decision::Work {
        again: true,
        supersede_action: false,
    };
    const UNDO_PENDING: Decision = Decision::Work {
        again: false,
        supersede_action: true,
    };

    fn found(state: State, same_request: bool) -> Own {
        Own::Found { state, same_request }
    }

    #[test]
    fn every_state_is_found_by_its_name() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("Pending"), None);
    }

    #[test]
    fn actions() {
        let table = [
            (Own::Inserted, FRESH),
            (found(State::Pending, true), AGAIN),
            (found(State::Succeeded, true), Decision::StoredReply),
            (found(State::Refused, true), Decision::StoredRefusal),
            (found(State::Superseded, true), Decision::Superseded),
            (found(State::Pending, false), Decision::Mismatch),
            (found(State::Succeeded, false), Decision::Mismatch),
            (found(State::Refused, false), Decision::Mismatch),
            (found(State::Superseded, false), Decision::Superseded),
        ];
        for (own, decision) in table {
            assert_eq!(action(own), decision, "{own:?}");
        }
    }

    #[test]
    fn only_a_worker_whose_action_stands_is_wanted() {
        let table = [
            (None, Guard::Absent),
            (Some(State::Pending), Guard::Wanted),
            (Some(State::Succeeded), Guard::Wanted),
            (Some(State::Refused), Guard::Superseded),
            (Some(State::Superseded), Guard::Superseded),
        ];
        for (row, guard) in table {
            assert_eq!(worker(row), guard, "{row:?}");
        }
    }

    #[test]
    fn first_compensations() {
        let table = [
            (ActionRow::Taken, Decision::NothingToUndo),
            (ActionRow::Found(State::Pending), UNDO_PENDING),
            (ActionRow::Found(State::Succeeded), FRESH),
            (ActionRow::Found(State::Refused), Decision::NothingToUndo),
            (ActionRow::Found(State::Superseded), Decision::NothingToUndo),
        ];
        for (row, decision) in table {
            assert_eq!(compensation(row, Own::Inserted), decision, "{row:?}");
        }
    }

    #[test]
    fn repeated_compensations_do_not_look_at_the_action() {
        for state in State::ALL {
            for same_request in [true, false] {
                let own = found(state, same_request);
                for row in [ActionRow::Taken]
                    .into_iter()
                    .chain(State::ALL.map(ActionRow::Found))
                {
                    assert_eq!(compensation(row, own), action(own), "{row:?} {own:?}");
                }
            }
        }
    }

    #[test]
    fn settlements() {
        for op in [Op::Action, Op::Compensation] {
            for refusable in [true, false] {
                assert_eq!(settle(Answer::Reply, op, refusable), Settlement::StoreReply);
                assert_eq!(settle(Answer::Pending, op, refusable), Settlement::KeepPending);
                assert_eq!(settle(Answer::Failure, op, refusable), Settlement::AnswerFailure);
            }
        }
        assert_eq!(settle(Answer::No, Op::Action, true), Settlement::StoreRefusal);
        assert_eq!(settle(Answer::No, Op::Action, false), Settlement::AnswerRefusal);
        assert_eq!(
            settle(Answer::No, Op::Compensation, true),
            Settlement::AnswerRefusal
        );
        assert_eq!(
            settle(Answer::No, Op::Compensation, false),
            Settlement::AnswerRefusal
        );
    }

    /// The two rows of a step and what its work has done, driven by the decisions above, one call after another:
    /// the row locks make real calls take turns the same way.
    #[derive(Debug, Default, Clone)]
    struct Step {
        action: Option<State>,
        compensation: Option<State>,
        /// Times the action's work began, and times it ended with a reply.
        begun: u32,
        done: u32,
        undone: u32,
    }

    impl Step {
        fn call(&mut self, op: Op, refusable: bool, answer: Answer) -> Decision {
            let mut next = self.clone();
            let own = |row: Option<State>| row.map_or(Own::Inserted, |state| found(state, true));
            let decision = match op {
                Op::Action => {
                    let own = own(next.action);
                    next.action.get_or_insert(State::Pending);
                    action(own)
                }
                Op::Compensation => {
                    let row = next.action.map_or(ActionRow::Taken, ActionRow::Found);
                    next.action.get_or_insert(State::Superseded);
                    let own = own(next.compensation);
                    next.compensation.get_or_insert(State::Pending);
                    compensation(row, own)
                }
            };
            match decision {
                Decision::NothingToUndo => next.compensation = Some(State::Succeeded),
                Decision::Work {
                    again,
                    supersede_action,
                } => {
                    if supersede_action {
                        assert_eq!(next.action, Some(State::Pending));
                        next.action = Some(State::Superseded);
                    }
                    let end = match settle(answer, op, refusable) {
                        Settlement::StoreReply => State::Succeeded,
                        Settlement::KeepPending => State::Pending,
                        Settlement::StoreRefusal => State::Refused,
                        Settlement::AnswerRefusal | Settlement::AnswerFailure => return decision,
                    };
                    match op {
                        Op::Action => {
                            next.begun += u32::from(!again && end != State::Refused);
                            next.done += u32::from(end == State::Succeeded);
                            next.action = Some(end);
                        }
                        Op::Compensation => {
                            next.undone += u32::from(end == State::Succeeded);
                            next.compensation = Some(end);
                        }
                    }
                }
                Decision::StoredReply
                | Decision::StoredRefusal
                | Decision::Superseded
                | Decision::Mismatch => {}
            }
            *self = next;
            decision
        }
    }

    fn answers() -> impl Strategy<Value = Answer> {
        prop::sample::select(vec![Answer::Reply, Answer::Pending, Answer::No, Answer::Failure])
    }

    proptest! {
        #[test]
        fn no_order_of_calls_doubles_or_revives_an_effect(
            calls in prop::collection::vec((any::<bool>(), any::<bool>(), answers()), 1..40),
        ) {
            let mut step = Step::default();
            for (is_action, refusable, answer) in calls {
                let op = if is_action { Op::Action } else { Op::Compensation };
                let before = step.clone();
                let decision = step.call(op, refusable, answer);

                prop_assert!(step.begun <= 1 && step.done <= 1 && step.undone <= 1, "{step:?}");
                prop_assert!(step.undone <= step.begun, "undone without having begun: {step:?}");
                if before.compensation.is_some() {
                    prop_assert_eq!((step.begun, step.done), (before.begun, before.done));
                    prop_assert_eq!(step.action, before.action);
                    if op == Op::Action {
                        let has_no_work = !matches!(decision, Decision::Work { .. });
                        prop_assert!(has_no_work, "an action ran after its compensation: {step:?}");
                    }
                }
                for (was, is) in [(before.action, step.action), (before.compensation, step.compensation)] {
                    if let Some(was @ (State::Succeeded | State::Refused | State::Superseded)) = was {
                        prop_assert_eq!(is, Some(was), "a final state changed");
                    }
                }
                // What a refused action began is of no effect by its own word.
                let has_effect = step.begun == 1 && step.action != Some(State::Refused);
                if step.compensation == Some(State::Succeeded) && has_effect {
                    prop_assert_eq!(step.undone, 1, "settled without undoing: {:?}", step);
                }
            }
        }
    }
}
