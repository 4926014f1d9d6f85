//! Rule 3: turning round.

use saga_core::{Event, FailureClass, Reason, Rejected};

use crate::dsl::*;

fn abandoned(saga: &Saga) -> usize {
    saga.count(|event| matches!(event, Event::Abandoned { .. }))
}

#[test]
fn a_cancel_waits_for_the_call_in_flight_and_undoes_what_it_did() {
    let saga = Saga::of(&[work("A"), work("B"), work("C")])
        .succeed("A")
        .in_flight(&["B"])
        .cancel()
        .expect_unwinding(Reason::Cancelled)
        .expect_due(&[]);
    assert_eq!(saga.alarm_in(), Some(TIMEOUT_MS));
    saga.succeed("B")
        .expect_due(&["~B"])
        .succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn a_call_in_flight_that_is_refused_leaves_nothing_to_undo() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .in_flight(&["B"])
        .cancel()
        .refuse("B")
        .expect_due(&["~A"]);
}

#[test]
fn a_call_in_flight_that_is_refused_after_an_unresolved_attempt_is_compensated() {
    let draining = Saga::of(&[work("A")]).fail("A").in_flight(&["A"]).cancel();
    draining.clone().refuse("A").expect_due(&["~A"]);
    draining.refuse_stored("A").expect_compensated(Reason::Cancelled);
}

#[test]
fn a_call_in_flight_that_fails_or_is_pending_is_compensated() {
    let draining = Saga::of(&[work("A")]).in_flight(&["A"]).cancel();
    draining.clone().pending("A").expect_due(&["~A"]);
    for class in [
        FailureClass::Unknown,
        FailureClass::Unsent,
        FailureClass::Misconfigured,
    ] {
        let saga = draining.clone().fail_as("A", class).expect_due(&["~A"]);
        assert_eq!(abandoned(&saga), 1);
    }
}

#[test]
fn a_call_in_flight_that_outlives_its_timeout_is_compensated() {
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .in_flight(&["B"])
        .cancel()
        .pass(TIMEOUT_MS - 1)
        .expect_due(&[])
        .pass(1)
        .expect_due(&["~B"]);
    assert_eq!(abandoned(&saga), 1);
    assert_eq!(saga.alarm_in(), None);
    saga.succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn an_action_between_two_attempts_is_not_waited_for() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .fail("B")
        .cancel()
        .expect_due(&["~B"]);
}

#[test]
fn an_action_that_may_have_been_called_is_compensated_after_a_crash() {
    Saga::of(&[work("A")])
        .crash()
        .cancel()
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn a_drain_survives_a_crash() {
    let saga = Saga::of(&[work("A")])
        .in_flight(&["A"])
        .cancel()
        .crash()
        .expect_due(&[]);
    assert_eq!(saga.alarm_in(), Some(TIMEOUT_MS));
    saga.pass(TIMEOUT_MS).expect_due(&["~A"]);
}

#[test]
fn retries_exhausted_unwind_and_the_failed_step_itself_is_compensated() {
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .fail_times("B", FailureClass::Unknown, 3)
        .expect_running()
        .fail("B")
        .expect_unwinding(Reason::Exhausted)
        .expect_due(&["~B"]);
    assert_eq!(saga.state.failed_step(), Some(1));
    assert_eq!(saga.state.error(), Some(&error("unknown")));
    saga.succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Exhausted);
}

#[test]
fn a_refused_step_is_not_compensated() {
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .refuse("B")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
    assert_eq!(saga.state.failed_step(), Some(1));
    assert_eq!(saga.state.error(), Some(&error("no")));
    saga.succeed("~A").expect_compensated(Reason::Refused);
}

#[test]
fn a_first_step_that_is_refused_ends_the_saga_at_once() {
    let saga = Saga::of(&[work("A"), work("B")])
        .refuse("A")
        .expect_compensated(Reason::Refused);
    assert_eq!(saga.transitions.len(), 1);
}

#[test]
fn a_step_without_compensation_is_passed_over_and_what_stands_before_it_is_undone() {
    Saga::of(&[work("A"), work("B").compensated(false), work("C")])
        .succeed("A")
        .succeed("B")
        .succeed("C")
        .expect_completed();
    Saga::of(&[work("A"), work("B").compensated(false), work("C"), work("D")])
        .succeed("A")
        .succeed("B")
        .succeed("C")
        .refuse("D")
        .expect_due(&["~C"])
        .succeed("~C")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn a_step_without_compensation_in_flight_holds_back_what_stands_before_it() {
    let draining = Saga::of(&[work("A"), work("B").compensated(false)])
        .succeed("A")
        .in_flight(&["B"])
        .cancel()
        .expect_due(&[]);
    draining.clone().succeed("B").expect_due(&["~A"]);
    draining.pass(TIMEOUT_MS).expect_due(&["~A"]);
}

#[test]
fn an_unwinding_saga_cannot_be_cancelled_again() {
    let mut saga = Saga::of(&[work("A"), work("B")]).succeed("A").refuse("B");
    assert_eq!(saga.try_cancel(), Err(Rejected::AlreadyUnwinding));
    saga.expect_unwinding(Reason::Refused);
}

#[test]
fn a_refusal_during_the_drain_does_not_change_why_it_unwinds() {
    let saga = Saga::of(&[work("A")])
        .in_flight(&["A"])
        .cancel()
        .refuse("A")
        .expect_compensated(Reason::Cancelled);
    assert_eq!(saga.state.error(), Some(&error("changed my mind")));
    assert_eq!(saga.state.failed_step(), None);
}

#[test]
fn the_turn_remembers_who_asked_for_it_and_nothing_else_does() {
    let saga = Saga::of(&[work("A")]).cancel().succeed("~A");
    let actors: Vec<_> = saga
        .transitions
        .iter()
        .flatten()
        .map(|r| r.actor.as_deref())
        .collect();
    assert_eq!(actors, [Some("ann"), Some("ann"), None, None]);
}

#[test]
fn what_follows_from_a_cancel_in_the_same_transition_is_nobodys_act() {
    let saga = Saga::of(&[work("A").compensated(false)])
        .cancel()
        .expect_compensated(Reason::Cancelled);
    let actors: Vec<_> = saga.transitions[0].iter().map(|r| r.actor.as_deref()).collect();
    assert_eq!(actors, [Some("ann"), Some("ann"), None]);
}

#[test]
fn only_open_actions_are_recorded_as_in_flight() {
    let saga = Saga::of(&[work("A"), work("B"), work("C")])
        .succeed("A")
        .in_flight(&["A", "B", "~B", "C"])
        .cancel();
    let in_flight = saga.events().find_map(|event| match event {
        Event::Unwinding { in_flight, .. } => Some(in_flight.clone()),
        Event::Succeeded { .. }
        | Event::Refused { .. }
        | Event::Failed { .. }
        | Event::Pending { .. }
        | Event::Abandoned { .. }
        | Event::Skipped { .. }
        | Event::LateSuccess { .. }
        | Event::Operator { .. }
        | Event::Committed
        | Event::DeadlineMissed
        | Event::Ended { .. } => None,
    });
    assert_eq!(in_flight, Some(vec![saga.key("B")]));
}

#[test]
fn a_compensation_is_told_its_own_timeout() {
    let saga = Saga::of(&[work("A")]).fail("A").cancel();
    let due = saga.state.due(&saga.plan).next().unwrap();
    assert_eq!(due.timeout_ms, 2 * TIMEOUT_MS);
    assert!(!due.refusable);
}
