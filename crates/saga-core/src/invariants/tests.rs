//! Each invariant is broken by a state made by hand: none is true of everything.

use super::{ALL, AT_REST, Invariant, broken, broken_at_rest};
use crate::event::{Phase, Reason, Recorded, StepError};
use crate::plan::{Backoff, Epilogue, Plan, StepPlan, Zone};
use crate::run::OpState;
use crate::state::{Clock, Start, State};
use crate::{Event, Millis, Op, OpKey, Payload};

pub(crate) fn plan() -> Plan {
    let step = |name: &str, zone, after| StepPlan {
        name: name.into(),
        after,
        zone,
        compensated: zone == Zone::Compensatable,
        backoff: Backoff::default(),
        compensation_backoff: Backoff::default(),
        timeout_ms: 1_000,
        compensation_timeout_ms: 1_000,
        expires: false,
        probe: false,
        conditional: false,
    };
    let steps = vec![
        step("A", Zone::Compensatable, vec![]),
        step("B", Zone::Compensatable, vec![0]),
        step("P", Zone::Pivot, vec![1]),
        step("R", Zone::Retriable, vec![2]),
    ];
    let epilogue = Epilogue {
        name: "E".into(),
        backoff: Backoff::default(),
        timeout_ms: 1_000,
    };
    Plan::new(steps, Some(epilogue), 60_000).unwrap()
}

const A: usize = 0;
const B: usize = 1;
const P: usize = 2;
const R: usize = 3;
const E: usize = 4;

/// Replays events over a fresh saga of A → B → P → R with epilogue E.
fn after(events: impl IntoIterator<Item = Event>) -> State {
    let plan = plan();
    let start = Start {
        at: Millis(0),
        deadline_ms: 1_000,
        expires_ms: Vec::new(),
    };
    let mut state = State::start(&plan, &start);
    for event in events {
        state.apply(&plan, &Recorded::new(Millis(1), None, event));
    }
    state
}

fn succeeded(step: usize, op: Op) -> Event {
    Event::Succeeded {
        key: OpKey {
            step: u16::try_from(step).unwrap(),
            index: 0,
            op,
        },
        attempt: 1,
        reply: Payload::new("{}"),
    }
}

fn forward(steps: std::ops::RangeInclusive<usize>) -> Vec<Event> {
    steps.map(|step| succeeded(step, Op::Action)).collect()
}

fn cancelled() -> Event {
    Event::Unwinding {
        reason: Reason::Cancelled,
        failed_step: None,
        error: None,
        in_flight: Vec::new(),
    }
}

fn at_b() -> State {
    after(forward(A..=A))
}

fn at_p() -> State {
    after(forward(A..=B))
}

fn at_r() -> State {
    after(forward(A..=P).into_iter().chain([Event::Committed]))
}

fn completed() -> State {
    let ended = Event::Ended {
        phase: Phase::Completed,
    };
    after(
        forward(A..=P)
            .into_iter()
            .chain([Event::Committed, succeeded(R, Op::Action), ended]),
    )
}

/// A succeeded, B was abandoned and is being compensated.
fn unwinding() -> State {
    after([succeeded(A, Op::Action), cancelled()])
}

fn compensated() -> State {
    let ended = Event::Ended {
        phase: Phase::Compensated,
    };
    after([
        succeeded(A, Op::Action),
        cancelled(),
        succeeded(B, Op::Compensation),
        succeeded(A, Op::Compensation),
        succeeded(E, Op::Action),
        ended,
    ])
}

fn done() -> OpState {
    OpState::Succeeded(Payload::new("{}"))
}

fn refused() -> OpState {
    OpState::Refused(StepError {
        code: "NOT_FOUND".into(),
        reason: "NO".into(),
        domain: "test".into(),
        message: "no".into(),
    })
}

/// An invariant's name, a sound state, and the smallest change that breaks the invariant there.
type Break = (&'static str, fn() -> State, fn(&mut State));

const BREAKS: &[Break] = &[
    ("an_ended_saga_has_nothing_open", at_b, |s| {
        s.phase = Phase::Completed
    }),
    ("a_running_saga_compensates_nothing", at_b, |s| {
        s.runs[A].compensation = done()
    }),
    ("committed_means_everything_before_succeeded", at_p, |s| {
        s.committed = true
    }),
    ("a_committed_saga_never_unwinds", at_r, |s| {
        s.phase = Phase::Compensating
    }),
    ("an_unwinding_saga_has_no_live_pivot", at_p, |s| {
        s.phase = Phase::Compensating
    }),
    ("an_unwinding_saga_has_no_live_pivot", unwinding, |s| {
        s.runs[P].action = OpState::Abandoned
    }),
    ("an_unwinding_saga_waits_only_for_what_was_in_flight", at_b, |s| {
        s.phase = Phase::Compensating
    }),
    ("an_unwinding_saga_waits_only_for_what_was_in_flight", at_b, |s| {
        s.runs[B].action.open_mut().unwrap().drain_until = Some(Millis(1));
    }),
    ("an_action_starts_after_what_it_waits_for", at_b, |s| {
        s.runs[P].action = done()
    }),
    (
        "a_compensation_starts_after_all_below_is_settled",
        unwinding,
        |s| s.runs[A].compensation = done(),
    ),
    ("a_compensation_undoes_what_may_have_run", unwinding, |s| {
        s.runs[B].action = refused()
    }),
    ("a_compensation_undoes_what_may_have_run", unwinding, |s| {
        s.runs[P].compensation = done()
    }),
    ("nothing_that_may_start_is_held_back", at_b, |s| {
        s.runs[B].action = OpState::NotStarted
    }),
    ("nothing_that_may_start_is_held_back", unwinding, |s| {
        s.runs[B].compensation = OpState::NotStarted
    }),
    ("the_epilogue_comes_last", unwinding, |s| {
        s.runs[E].action = done()
    }),
    ("the_epilogue_comes_last", completed, |s| {
        s.runs[E].action = done()
    }),
    ("the_clock_stands_still_exactly_for_people", at_b, |s| {
        s.clock = Clock::Stopped { left_ms: 1 }
    }),
    ("the_clock_stands_still_exactly_for_people", at_b, |s| {
        s.runs[B].action.open_mut().unwrap().expires_at = Some(Millis(9));
    }),
    ("completed_means_every_step_succeeded", completed, |s| {
        s.runs[R].action = OpState::NotStarted
    }),
    ("compensated_means_everything_is_settled", compensated, |s| {
        s.runs[A].compensation = OpState::NotStarted
    }),
    ("compensated_means_everything_is_settled", compensated, |s| {
        s.runs[E].action = OpState::NotStarted
    }),
    ("a_skipped_action_is_never_compensated", unwinding, |s| {
        s.runs[B].action = OpState::Skipped
    }),
    ("only_what_may_be_left_out_is_skipped", at_p, |s| {
        s.runs[A].action = OpState::Skipped
    }),
    ("an_ended_saga_is_not_paused", completed, |s| {
        s.paused = Some(Millis(1))
    }),
    ("a_late_success_belongs_to_an_abandoned_action", at_b, |s| {
        s.runs[A].late = Some((Payload::new("1"), Millis(1)))
    }),
    ("a_late_success_belongs_to_an_abandoned_action", unwinding, |s| {
        s.runs[A].late = Some((Payload::new("1"), Millis(1)))
    }),
    ("only_what_was_written_off_is_watched", unwinding, |s| {
        s.runs[P].watched_until = Some(Millis(1))
    }),
    ("a_limited_action_keeps_to_its_retries", at_b, |s| {
        s.runs[B].action.open_mut().unwrap().failures = 4;
    }),
    ("a_live_saga_has_something_to_wait_for", at_b, |s| {
        s.runs[B].action = refused()
    }),
    ("a_live_saga_has_something_to_wait_for", unwinding, |s| {
        s.runs[B].compensation = OpState::Abandoned
    }),
    ("a_running_saga_has_given_up_nothing", at_b, |s| {
        s.runs[B].action = OpState::Abandoned
    }),
    ("the_commit_point_is_not_overlooked", at_r, |s| {
        s.committed = false
    }),
    ("the_deadline_is_not_overlooked", at_b, |s| {
        s.clock = Clock::Stopped { left_ms: 1 }
    }),
];

fn by_name(name: &str) -> &'static Invariant {
    let found = ALL.iter().chain(AT_REST).find(|invariant| invariant.name == name);
    found.unwrap_or_else(|| panic!("no invariant {name}"))
}

#[test]
fn each_invariant_is_broken_by_some_state() {
    for (name, sound, break_it) in BREAKS {
        let mut state = sound();
        assert_eq!(broken_at_rest(&plan(), &state), None, "before {name}");
        break_it(&mut state);
        assert!(
            !(by_name(name).holds)(&plan(), &state),
            "{name} holds of {state:#?}"
        );
        assert!(broken_at_rest(&plan(), &state).is_some());
    }
}

#[test]
fn no_invariant_lacks_a_state_that_breaks_it() {
    for invariant in ALL.iter().chain(AT_REST) {
        assert!(
            BREAKS.iter().any(|(name, _, _)| *name == invariant.name),
            "{}",
            invariant.name
        );
    }
}

#[test]
fn a_state_in_the_middle_of_a_transition_is_sound_but_not_at_rest() {
    let refused = Event::Refused {
        key: OpKey {
            step: 0,
            index: 0,
            op: Op::Action,
        },
        attempt: 1,
        error: StepError {
            code: "NOT_FOUND".into(),
            reason: "NO".into(),
            domain: "test".into(),
            message: "no".into(),
        },
    };
    let state = after([refused]);
    assert_eq!(broken(&plan(), &state), None);
    assert_eq!(
        broken_at_rest(&plan(), &state),
        Some("a_live_saga_has_something_to_wait_for")
    );
}
