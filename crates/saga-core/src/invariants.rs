//! What holds after every event. Used literally by the tests, by models, and by the running system in debug builds.

use crate::event::Phase;
use crate::plan::{Plan, Zone};
use crate::state::{OpState, Run, State};

/// A named predicate over a saga's state.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Name, a claim.
    pub name: &'static str,
    /// Tells whether it holds.
    pub holds: fn(&Plan, &State) -> bool,
}

/// Every invariant.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "an_ended_saga_has_nothing_open",
        holds: ended_has_nothing_open,
    },
    Invariant {
        name: "a_running_saga_compensates_nothing",
        holds: running_compensates_nothing,
    },
    Invariant {
        name: "a_committed_saga_never_unwinds",
        holds: committed_never_unwinds,
    },
    Invariant {
        name: "an_unwinding_saga_has_no_live_pivot",
        holds: unwinding_has_no_live_pivot,
    },
    Invariant {
        name: "an_action_starts_after_what_it_waits_for",
        holds: actions_start_in_order,
    },
    Invariant {
        name: "a_compensation_starts_after_all_below_is_settled",
        holds: compensations_in_order,
    },
    Invariant {
        name: "completed_means_every_step_succeeded",
        holds: completed_means_all_succeeded,
    },
    Invariant {
        name: "compensated_means_everything_is_settled",
        holds: compensated_means_settled,
    },
    Invariant {
        name: "a_live_saga_has_something_to_wait_for",
        holds: live_saga_waits_for_something,
    },
];

/// Returns the name of the first invariant that is broken, if any.
#[must_use]
pub fn broken(plan: &Plan, state: &State) -> Option<&'static str> {
    ALL.iter()
        .find(|invariant| !(invariant.holds)(plan, state))
        .map(|invariant| invariant.name)
}

fn forward<'a>(plan: &Plan, state: &'a State) -> &'a [Run] {
    &state.runs[..plan.steps().len()]
}

fn ended_has_nothing_open(_: &Plan, state: &State) -> bool {
    !state.phase.is_ended()
        || state.phase == Phase::Resolved
        || state
            .runs
            .iter()
            .all(|r| r.action.open().is_none() && r.compensation.open().is_none())
}

fn running_compensates_nothing(_: &Plan, state: &State) -> bool {
    !matches!(state.phase, Phase::Running | Phase::Completed)
        || state.runs.iter().all(|r| r.compensation == OpState::NotStarted)
}

fn committed_never_unwinds(_: &Plan, state: &State) -> bool {
    !state.committed || !matches!(state.phase, Phase::Compensating | Phase::Compensated)
}

fn unwinding_has_no_live_pivot(plan: &Plan, state: &State) -> bool {
    let Some(pivot) = plan.pivot().and_then(|p| state.run(p, 0)) else {
        return true;
    };
    !matches!(state.phase, Phase::Compensating | Phase::Compensated)
        || matches!(pivot.action, OpState::NotStarted | OpState::Refused(_))
}

fn actions_start_in_order(plan: &Plan, state: &State) -> bool {
    forward(plan, state).iter().zip(plan.steps()).all(|(run, step)| {
        run.action == OpState::NotStarted
            || step
                .after
                .iter()
                .all(|&before| state.runs[usize::from(before)].action.succeeded())
    })
}

fn compensations_in_order(plan: &Plan, state: &State) -> bool {
    forward(plan, state).iter().all(|run| {
        run.compensation == OpState::NotStarted
            || plan
                .descendants(run.step)
                .iter()
                .all(|&below| state.settled(plan, &state.runs[usize::from(below)]))
    })
}

fn completed_means_all_succeeded(plan: &Plan, state: &State) -> bool {
    state.phase != Phase::Completed || forward(plan, state).iter().all(|run| run.action.succeeded())
}

fn compensated_means_settled(plan: &Plan, state: &State) -> bool {
    state.phase != Phase::Compensated
        || (forward(plan, state).iter().all(|run| state.settled(plan, run))
            && plan
                .steps()
                .iter()
                .zip(forward(plan, state))
                .all(|(step, run)| step.zone != Zone::Retriable || run.action == OpState::NotStarted))
}

/// A saga that has nothing to call, nothing in flight and no alarm would be stuck for ever. What follows by itself
/// (commit, end) is recorded in the same transition, so it may be missing for one event.
fn live_saga_waits_for_something(plan: &Plan, state: &State) -> bool {
    let all_forward_done = forward(plan, state).iter().all(|run| run.action.succeeded());
    let all_settled = forward(plan, state).iter().all(|run| state.settled(plan, run));
    match state.phase {
        Phase::Running => {
            all_forward_done
                || state.due(plan).next().is_some()
                || forward(plan, state)
                    .iter()
                    .any(|r| matches!(r.action, OpState::Refused(_) | OpState::Abandoned))
        }
        Phase::Compensating => {
            all_settled || state.due(plan).next().is_some() || state.alarm_at(plan).is_some()
        }
        Phase::Completed | Phase::Compensated | Phase::Resolved => true,
    }
}
