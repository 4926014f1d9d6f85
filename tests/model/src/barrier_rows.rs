//! A participant: the barrier's rows of one step, decided by the real barrier, and what the step has done.

use std::collections::BTreeMap;

use barrier::Guard;
use barrier::decide::{self, ActionRow, Answer, Decision, Own, Settlement, State};
use saga_core::Op;
use saga_core::invariants::effects::Effect;

use crate::mutation::Mutation;
use crate::network::Said;

/// What a participant would like to answer to work that is not decided yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It does it.
    Yes,
    /// It does not.
    No,
    /// It says no before the barrier is asked.
    EarlyNo,
    /// It begins, and goes on in the background.
    Pending,
}

/// Work in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Job {
    #[default]
    None,
    Begun,
    Finished,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Rows {
    action: Option<State>,
    compensation: Option<State>,
}

/// One step at its participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// By idempotency key. There is one, unless a mutation makes more.
    rows: BTreeMap<u32, Rows>,
    job: Job,
    done: u32,
    undone: u32,
    left_out: bool,
}

/// A call as the barrier sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) attempt: u32,
    pub(crate) refusable: bool,
    pub(crate) works_in_background: bool,
}

const DOUBLED: u32 = 3;

impl Site {
    pub(crate) fn new(left_out: bool) -> Self {
        Self {
            rows: BTreeMap::new(),
            job: Job::None,
            done: 0,
            undone: 0,
            left_out,
        }
    }

    pub(crate) fn effect(&self) -> Effect {
        Effect {
            done: self.done,
            undone: self.undone,
            open: self.job == Job::Begun && self.guard() == Guard::Wanted,
            left_out: self.left_out,
        }
    }

    pub(crate) fn job(&self) -> Job {
        self.job
    }

    /// A compensation took the place of an action that has not come.
    pub(crate) fn is_taken(&self) -> bool {
        self.rows
            .values()
            .any(|rows| rows.action == Some(State::Superseded))
            && self.job == Job::None
    }

    fn guard(&self) -> Guard {
        decide::worker(self.rows.values().find_map(|rows| rows.action))
    }

    fn rows(&mut self, attempt: u32, mutation: Option<Mutation>) -> &mut Rows {
        let key = if mutation == Some(Mutation::KeyPerAttempt) {
            attempt
        } else {
            0
        };
        self.rows.entry(key).or_default()
    }

    /// Returns what a participant may want to answer: nothing to choose where the rows decide.
    pub(crate) fn moods(&self, request: Request, mutation: Option<Mutation>) -> Vec<Mood> {
        let mut moods = vec![Mood::Yes];
        let decision = self.clone().decide(request, mutation);
        if let Decision::Work { again: false, .. } = decision {
            moods.push(Mood::No);
            if request.works_in_background && request.op == Op::Action {
                moods.push(Mood::Pending);
            }
        }
        // A proxy may say no whatever the barrier would.
        if request.op == Op::Action {
            moods.push(Mood::EarlyNo);
        }
        moods
    }

    /// Inserts or finds the rows of a call, and asks the barrier.
    fn decide(&mut self, request: Request, mutation: Option<Mutation>) -> Decision {
        let rows = self.rows(request.attempt, mutation);
        let own = |row: &mut Option<State>| match *row {
            None => {
                *row = Some(State::Pending);
                Own::Inserted
            }
            Some(state) => Own::Found {
                state,
                same_request: true,
            },
        };
        let decision = match request.op {
            Op::Action => decide::action(own(&mut rows.action)),
            Op::Compensation => {
                let action = rows.action.map_or(ActionRow::Taken, ActionRow::Found);
                if rows.action.is_none() && mutation != Some(Mutation::NullCompensationLeavesNoRow) {
                    rows.action = Some(State::Superseded);
                }
                decide::compensation(action, own(&mut rows.compensation))
            }
        };
        let work = Decision::Work {
            again: false,
            supersede_action: false,
        };
        match (mutation, decision) {
            (Some(Mutation::LateActionRuns), Decision::Superseded) => work,
            (Some(Mutation::RepeatedActionRunsAgain), Decision::StoredReply) if request.op == Op::Action => {
                work
            }
            (Some(Mutation::RepeatedCompensationRunsAgain), Decision::StoredReply)
                if request.op == Op::Compensation =>
            {
                work
            }
            (Some(Mutation::PendingActionIsNotSuperseded), Decision::Work { again, .. }) => Decision::Work {
                again,
                supersede_action: false,
            },
            _ => decision,
        }
    }

    /// One transaction of the participant.
    pub(crate) fn call(&mut self, request: Request, mood: Mood, mutation: Option<Mutation>) -> Said {
        if mood == Mood::EarlyNo {
            return Said::Refused { stored: false };
        }
        let before = self.clone();
        let again = match self.decide(request, mutation) {
            Decision::Work {
                again,
                supersede_action,
            } => {
                if supersede_action {
                    self.rows(request.attempt, mutation).action = Some(State::Superseded);
                }
                again
            }
            Decision::NothingToUndo => {
                self.rows(request.attempt, mutation).compensation = Some(State::Succeeded);
                return Said::Succeeded;
            }
            Decision::StoredReply => return Said::Succeeded,
            Decision::StoredRefusal => return Said::Refused { stored: true },
            Decision::Superseded => return Said::Superseded,
            Decision::Mismatch => unreachable!("a step's request is always the same"),
        };
        let answer = self.work(request, mood, again);
        let settlement = decide::settle(answer, rpc_op(request.op), request.refusable);
        let final_state = match settlement {
            Settlement::StoreReply => State::Succeeded,
            Settlement::KeepPending => return Said::Pending,
            Settlement::StoreRefusal if mutation == Some(Mutation::RefusalIsNotStored) => {
                *self = before;
                return Said::Refused { stored: true };
            }
            Settlement::StoreRefusal => State::Refused,
            Settlement::AnswerRefusal | Settlement::AnswerFailure => {
                *self = before;
                return Said::Refused { stored: false };
            }
        };
        let rows = self.rows(request.attempt, mutation);
        match request.op {
            Op::Action => rows.action = Some(final_state),
            Op::Compensation => rows.compensation = Some(final_state),
        }
        if final_state == State::Refused {
            Said::Refused { stored: true }
        } else {
            Said::Succeeded
        }
    }

    fn work(&mut self, request: Request, mood: Mood, again: bool) -> Answer {
        match (request.op, again, mood) {
            (Op::Compensation, _, Mood::Yes) => {
                // It undoes what it finds, and ends what was begun.
                let finds = self.done > 0 || self.undone > 0;
                self.undone = (self.undone + u32::from(finds)).min(DOUBLED);
                Answer::Reply
            }
            (Op::Action, true, _) => match self.job {
                Job::Finished => Answer::Reply,
                Job::Failed => Answer::No,
                Job::None | Job::Begun => Answer::Pending,
            },
            (Op::Action, false, Mood::Yes) => {
                self.done = (self.done + 1).min(DOUBLED);
                Answer::Reply
            }
            (Op::Action, false, Mood::Pending) => {
                self.job = Job::Begun;
                Answer::Pending
            }
            (_, _, Mood::No | Mood::EarlyNo | Mood::Pending) => Answer::No,
        }
    }

    /// Says what became of an action, and changes nothing.
    pub(crate) fn probe(&self) -> Said {
        let action = self.rows.values().find_map(|rows| rows.action);
        match (action, self.job) {
            (None, _) => Said::NotSeen,
            (Some(State::Succeeded), _) | (Some(State::Pending), Job::Finished) => Said::Succeeded,
            (Some(State::Refused), _) => Said::Refused { stored: true },
            (Some(State::Superseded), _) => Said::Superseded,
            (Some(State::Pending), Job::None | Job::Begun | Job::Failed) => Said::Pending,
        }
    }

    /// The last transaction of the work in the background.
    pub(crate) fn work_ends(&mut self, well: bool, mutation: Option<Mutation>) {
        let unguarded = mutation == Some(Mutation::WorkerIsNotGuarded);
        self.job = match (self.guard(), well) {
            (Guard::Wanted, true) => {
                self.done = (self.done + 1).min(DOUBLED);
                Job::Finished
            }
            (_, true) if unguarded => {
                self.done = (self.done + 1).min(DOUBLED);
                Job::Finished
            }
            (Guard::Wanted, false) => Job::Failed,
            (Guard::Superseded | Guard::Absent, _) => Job::None,
        };
    }
}

fn rpc_op(op: Op) -> rpc::step::Op {
    match op {
        Op::Action => rpc::step::Op::Action,
        Op::Compensation => rpc::step::Op::Compensation,
    }
}
