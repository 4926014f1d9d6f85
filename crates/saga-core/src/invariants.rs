//! What holds after every event, and what holds besides between transitions. Used literally by the tests, by the model
//! check, by the simulation, and by the running system: at every event in debug builds, and always at loads and ends,
//! where it counts what is broken.

pub mod effects;

use crate::event::Phase;
use crate::plan::{Plan, Zone};
use crate::run::{OpState, Run};
use crate::state::{Clock, State};

/// A named predicate over a saga's state.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Name, a claim.
    pub name: &'static str,
    /// Tells whether it holds.
    pub holds: fn(&Plan, &State) -> bool,
}

/// What holds after every event.
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
        name: "committed_means_everything_before_succeeded",
        holds: committed_means_succeeded,
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
        name: "an_unwinding_saga_waits_only_for_what_was_in_flight",
        holds: unwinding_drains,
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
        name: "a_compensation_undoes_what_may_have_run",
        holds: compensations_undo_something,
    },
    Invariant {
        name: "nothing_that_may_start_is_held_back",
        holds: nothing_is_held_back,
    },
    Invariant {
        name: "the_epilogue_comes_last",
        holds: epilogue_comes_last,
    },
    Invariant {
        name: "the_clock_stands_still_exactly_for_people",
        holds: clock_stands_still_for_people,
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
        name: "a_skipped_action_is_never_compensated",
        holds: skipped_is_not_compensated,
    },
    Invariant {
        name: "only_what_may_be_left_out_is_skipped",
        holds: only_optional_is_skipped,
    },
    Invariant {
        name: "an_ended_saga_is_not_paused",
        holds: ended_is_not_paused,
    },
    Invariant {
        name: "a_late_success_belongs_to_an_abandoned_action",
        holds: late_success_was_given_up,
    },
    Invariant {
        name: "only_what_was_written_off_is_watched",
        holds: watched_was_written_off,
    },
    Invariant {
        name: "a_limited_action_keeps_to_its_retries",
        holds: retries_are_kept,
    },
];

/// What holds besides after every transition, and after a load. Within a transition one event may be still to come:
/// a refusal is recorded before the turn that follows from it, the last success before the end.
pub const AT_REST: &[Invariant] = &[
    Invariant {
        name: "a_live_saga_has_something_to_wait_for",
        holds: live_saga_waits_for_something,
    },
    Invariant {
        name: "a_running_saga_has_given_up_nothing",
        holds: running_has_given_up_nothing,
    },
    Invariant {
        name: "the_commit_point_is_not_overlooked",
        holds: commit_point_is_not_overlooked,
    },
    Invariant {
        name: "the_deadline_is_not_overlooked",
        holds: deadline_is_not_overlooked,
    },
];

/// Returns the name of the first of [`ALL`] that is broken, if any.
#[must_use]
pub fn broken(plan: &Plan, state: &State) -> Option<&'static str> {
    first_broken(ALL, plan, state)
}

/// Returns the name of the first of [`ALL`] and [`AT_REST`] that is broken, if any.
#[must_use]
pub fn broken_at_rest(plan: &Plan, state: &State) -> Option<&'static str> {
    broken(plan, state).or_else(|| first_broken(AT_REST, plan, state))
}

fn first_broken(invariants: &[Invariant], plan: &Plan, state: &State) -> Option<&'static str> {
    invariants
        .iter()
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

fn committed_means_succeeded(plan: &Plan, state: &State) -> bool {
    !state.committed || reached_commit_point(plan, state)
}

fn reached_commit_point(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .zip(plan.steps())
        .all(|(run, step)| step.zone == Zone::Retriable || run.action.done())
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

/// An open action is given up at once or drained (rule 3); without an end of the drain it would be waited for for ever.
fn unwinding_drains(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .filter_map(|run| run.action.open())
        .all(|open| match state.phase {
            Phase::Running => open.drain_until.is_none(),
            Phase::Compensating => open.drain_until.is_some(),
            Phase::Completed | Phase::Compensated | Phase::Resolved => true,
        })
}

fn actions_start_in_order(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .all(|run| run.action == OpState::NotStarted || may_start(plan, state, run))
}

fn may_start(plan: &Plan, state: &State, run: &Run) -> bool {
    plan.steps()[usize::from(run.step)]
        .after
        .iter()
        .all(|&before| state.runs[usize::from(before)].action.done())
}

fn compensations_in_order(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .all(|run| run.compensation == OpState::NotStarted || all_below_settled(plan, state, run))
}

fn all_below_settled(plan: &Plan, state: &State, run: &Run) -> bool {
    plan.descendants(run.step)
        .iter()
        .all(|&below| state.settled(plan, &state.runs[usize::from(below)]))
}

fn compensations_undo_something(plan: &Plan, state: &State) -> bool {
    state
        .runs
        .iter()
        .all(|run| run.compensation == OpState::NotStarted || state.wants_compensation(plan, run))
}

fn nothing_is_held_back(plan: &Plan, state: &State) -> bool {
    forward(plan, state).iter().all(|run| match state.phase {
        Phase::Running => run.action != OpState::NotStarted || !may_start(plan, state, run),
        Phase::Compensating => {
            run.compensation != OpState::NotStarted
                || !state.wants_compensation(plan, run)
                || !all_below_settled(plan, state, run)
        }
        Phase::Completed | Phase::Compensated | Phase::Resolved => true,
    })
}

fn epilogue_comes_last(plan: &Plan, state: &State) -> bool {
    let epilogue = &state.runs[plan.steps().len()..];
    let started = epilogue.iter().any(|run| run.action != OpState::NotStarted);
    let unwinds = !matches!(state.phase, Phase::Running | Phase::Completed);
    !started || (unwinds && forward(plan, state).iter().all(|run| state.settled(plan, run)))
}

fn clock_stands_still_for_people(_: &Plan, state: &State) -> bool {
    let mut open = state.runs.iter().filter_map(|run| run.action.open()).peekable();
    let only_people = open.peek().is_some() && open.all(|o| o.expires_at.is_some());
    let stopped = matches!(state.clock, Clock::Stopped { .. });
    stopped == (state.phase == Phase::Running && only_people)
}

fn completed_means_all_succeeded(plan: &Plan, state: &State) -> bool {
    state.phase != Phase::Completed || forward(plan, state).iter().all(|run| run.action.done())
}

fn compensated_means_settled(plan: &Plan, state: &State) -> bool {
    let epilogue = &state.runs[plan.steps().len()..];
    state.phase != Phase::Compensated
        || (forward(plan, state).iter().all(|run| state.settled(plan, run))
            && epilogue.iter().all(|run| run.action.done()))
}

fn skipped_is_not_compensated(_: &Plan, state: &State) -> bool {
    state
        .runs
        .iter()
        .all(|run| run.action != OpState::Skipped || run.compensation == OpState::NotStarted)
}

/// By its condition, or by an operator, who can leave out what cannot be refused.
fn only_optional_is_skipped(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .zip(plan.steps())
        .all(|(run, step)| run.action != OpState::Skipped || step.conditional || step.zone == Zone::Retriable)
}

fn ended_is_not_paused(_: &Plan, state: &State) -> bool {
    !state.phase.is_ended() || state.paused.is_none()
}

/// Given up by unwinding, or written off by an operator. A saga that goes forward gives up nothing.
fn late_success_was_given_up(_: &Plan, state: &State) -> bool {
    let unwinds = !matches!(state.phase, Phase::Running | Phase::Completed);
    state.runs.iter().filter(|run| run.late.is_some()).all(|run| {
        let written_off = run.written_off && matches!(run.action, OpState::Refused(_));
        unwinds && (run.action == OpState::Abandoned || written_off)
    })
}

fn watched_was_written_off(_: &Plan, state: &State) -> bool {
    state.runs.iter().all(|run| {
        run.watched_until.is_none() || (run.written_off && matches!(run.action, OpState::Refused(_)))
    })
}

/// The failures of a compensatable action are counted before they end it (rule 9).
fn retries_are_kept(plan: &Plan, state: &State) -> bool {
    forward(plan, state)
        .iter()
        .zip(plan.steps())
        .filter(|(_, step)| step.zone == Zone::Compensatable)
        .filter_map(|(run, step)| Some((run.action.open()?, step)))
        .all(|(open, step)| open.failures <= step.backoff.retries)
}

/// A saga that has nothing to call and no drain to wait for would be stuck for ever.
fn live_saga_waits_for_something(plan: &Plan, state: &State) -> bool {
    let drains = || state.runs.iter().any(|run| run.drain_until().is_some());
    match state.phase {
        // A paused saga waits for an operator.
        Phase::Running => state.wanted(plan).next().is_some(),
        Phase::Compensating => state.wanted(plan).next().is_some() || drains(),
        Phase::Completed | Phase::Compensated | Phase::Resolved => true,
    }
}

fn running_has_given_up_nothing(_: &Plan, state: &State) -> bool {
    state.phase != Phase::Running
        || state
            .runs
            .iter()
            .all(|run| !matches!(run.action, OpState::Refused(_) | OpState::Abandoned))
}

fn commit_point_is_not_overlooked(plan: &Plan, state: &State) -> bool {
    state.phase != Phase::Running || state.committed || !reached_commit_point(plan, state)
}

/// While it goes forward a saga is looked at again by itself, until it is known to be late.
fn deadline_is_not_overlooked(plan: &Plan, state: &State) -> bool {
    state.phase != Phase::Running || state.deadline_missed.is_some() || state.alarm_at(plan).is_some()
}

#[cfg(test)]
pub(crate) mod tests;
