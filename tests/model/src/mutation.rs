//! Rules that can be removed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a mutation concerns one seam, and leaves everything else there as it is"
)]

use saga_core::{
    Event, FailureClass, Input, Op, OpState, Outcome, Payload, Phase, Plan, Reason, Recorded, State,
    StepError, Zone,
};

/// One rule of DESIGN section 4 less. The number of the rule stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// 1: a refusal without the barrier's mark counts although an earlier attempt is unresolved.
    UnmarkedRefusalIsBelieved,
    /// 1: an error without a meaning counts as a refusal.
    UnknownCountsAsRefused,
    /// 2: nothing is the commit point.
    NothingCommits,
    /// 2: a cancel is obeyed at any time.
    CancelIsAlwaysObeyed,
    /// 2: the deadline turns round what has passed the commit point.
    DeadlineIsAlwaysObeyed,
    /// 2: the pivot is given up like any other step.
    PivotIsGivenUp,
    /// 3: unwinding does not wait for attempts in flight.
    NothingIsDrained,
    /// 3: compensations start in any order.
    CompensationsInAnyOrder,
    /// 3: only what is known to have succeeded is compensated.
    UnknownIsNotCompensated,
    /// 4: each attempt has a key of its own.
    KeyPerAttempt,
    /// 4: the number of the next attempt is not journaled.
    AttemptIsNotJournaled,
    /// 5: a compensation without an action takes no place.
    NullCompensationLeavesNoRow,
    /// 5: an action that finds its place taken runs.
    LateActionRuns,
    /// 5: a repeated action runs again.
    RepeatedActionRunsAgain,
    /// 5: a repeated compensation runs again.
    RepeatedCompensationRunsAgain,
    /// 5: a compensation leaves a pending action pending.
    PendingActionIsNotSuperseded,
    /// 5: a refusal is answered for good and not stored.
    RefusalIsNotStored,
    /// 6: the last transaction of a worker does not look at its barrier row.
    WorkerIsNotGuarded,
    /// 7: calls leave before what they follow from is durable.
    CallBeforeJournal,
    /// 8: the journal takes writes of an owner that was replaced.
    NothingIsFenced,
    /// 8: a write whose outcome is unknown is believed to be durable.
    UnknownCommitIsBelieved,
    /// 8: a takeover loads before it bumps the epoch.
    TakeoverLoadsFirst,
    /// 9: a compensation is given up after a failure.
    CompensationsAreGivenUp,
    /// 9: compensatable actions are repeated without end.
    RetriesWithoutEnd,
}

impl Mutation {
    /// Returns the plan that the state machine is shown.
    pub(crate) fn plan(self, plan: &Plan, state: &State) -> Option<Plan> {
        let mut steps = plan.steps().to_vec();
        match self {
            Self::PivotIsGivenUp => {
                for step in steps.iter_mut().filter(|step| step.zone == Zone::Pivot) {
                    step.zone = Zone::Compensatable;
                    step.backoff.retries = 0;
                }
            }
            Self::RetriesWithoutEnd => {
                steps.iter_mut().for_each(|step| step.backoff.retries = u32::MAX);
            }
            Self::CompensationsInAnyOrder if state.phase() == Phase::Compensating => {
                steps.iter_mut().for_each(|step| step.after.clear());
            }
            _ => return None,
        }
        Plan::new(steps, plan.epilogue().cloned(), 60_000).ok()
    }

    /// Rewrites what the state machine is told.
    pub(crate) fn input(self, plan: &Plan, input: Input) -> Input {
        let Input::Replied {
            key,
            attempt,
            outcome,
        } = input
        else {
            return input;
        };
        let step = plan.steps().get(usize::from(key.step));
        let refusable = key.op == Op::Action && step.is_some_and(|step| step.zone != Zone::Retriable);
        let outcome = match (self, outcome) {
            (Self::UnmarkedRefusalIsBelieved, Outcome::Refused { error, .. }) => {
                Outcome::Refused { error, stored: true }
            }
            (
                Self::UnknownCountsAsRefused,
                Outcome::Failed {
                    class: FailureClass::Unknown,
                    error,
                },
            ) if refusable => Outcome::Refused { error, stored: true },
            (
                Self::CompensationsAreGivenUp,
                Outcome::Failed {
                    class: FailureClass::Unknown,
                    ..
                },
            ) if key.op == Op::Compensation => Outcome::Succeeded(Payload::new("{}")),
            (_, outcome) => outcome,
        };
        Input::Replied {
            key,
            attempt,
            outcome,
        }
    }

    /// Rewrites what the state machine wants recorded; `before` is the state it was in.
    pub(crate) fn events(self, before: &State, events: Vec<Recorded>) -> Vec<Recorded> {
        match self {
            Self::NothingCommits => events
                .into_iter()
                .filter(|recorded| recorded.event != Event::Committed)
                .collect(),
            Self::DeadlineIsAlwaysObeyed => events
                .into_iter()
                .map(|recorded| match recorded.event {
                    Event::DeadlineMissed => Recorded {
                        event: unwinding(Reason::Timeout),
                        ..recorded
                    },
                    _ => recorded,
                })
                .collect(),
            Self::UnknownIsNotCompensated => events
                .into_iter()
                .flat_map(|recorded| only_known(before, recorded))
                .collect(),
            _ => events,
        }
    }
}

/// The turn, without waiting for anything.
pub(crate) fn unwinding(reason: Reason) -> Event {
    Event::Unwinding {
        reason,
        failed_step: None,
        error: None,
        in_flight: Vec::new(),
    }
}

/// Records what would be given up as refused, so that nothing compensates it.
fn only_known(before: &State, recorded: Recorded) -> Vec<Recorded> {
    let refused = |key, attempt| Event::Refused {
        key,
        attempt,
        error: no(),
    };
    let events = match recorded.event {
        Event::Abandoned { key } => vec![refused(key, 1)],
        Event::Failed {
            key,
            attempt,
            ref failure,
        } if failure.next_at.is_none() => vec![recorded.event.clone(), refused(key, attempt)],
        Event::Unwinding { ref in_flight, .. } => {
            let given_up = before.runs().iter().filter_map(|run| {
                let key = saga_core::OpKey {
                    step: run.step,
                    index: run.index,
                    op: Op::Action,
                };
                let open = matches!(run.action, OpState::Open(_)) && !in_flight.contains(&key);
                open.then(|| refused(key, 1))
            });
            given_up.chain([recorded.event.clone()]).collect()
        }
        ref event => vec![event.clone()],
    };
    let (at, actor) = (recorded.at, recorded.actor);
    events
        .into_iter()
        .map(|event| Recorded::new(at, actor.clone(), event))
        .collect()
}

/// The one error of the model: what is said makes no difference.
pub(crate) fn no() -> StepError {
    StepError {
        code: "FAILED_PRECONDITION".into(),
        reason: "NO".into(),
        domain: "model".into(),
        message: "".into(),
    }
}
