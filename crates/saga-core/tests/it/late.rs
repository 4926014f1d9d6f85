//! Rule 6: a success that arrives after giving up is recorded and needs attention.

use saga_core::{Cause, Completion, Event, OpState, Outcome, Payload, Reason, Rejected};

use crate::dsl::*;

fn yes() -> Outcome {
    Outcome::Succeeded(Payload::new("1"))
}

fn late(saga: &Saga) -> usize {
    saga.count(|event| matches!(event, Event::LateSuccess { .. }))
}

/// Cancelled while its only step worked on without a call in flight.
fn given_up() -> Saga {
    Saga::of(&[work("A")]).pending("A").cancel()
}

#[test]
fn a_completion_of_an_action_that_was_given_up_is_recorded_and_needs_attention() {
    let saga = given_up()
        .wait(5)
        .complete("A")
        .wait(7)
        .expect_attention(&[(Cause::LateSuccess, 7)]);
    assert_eq!(saga.last(), ["late_success"]);
    assert_eq!(saga.state.attention().next().unwrap().step, Some(0));
    let run = &saga.state.runs()[0];
    assert_eq!(run.action, OpState::Abandoned);
    assert_eq!(run.late.as_ref().unwrap().0, Payload::new("\"A by token\""));
    saga.crash().expect_attention(&[(Cause::LateSuccess, 7)]);
}

#[test]
fn an_answer_to_the_call_that_was_waited_for_too_long_is_recorded_too() {
    let mut saga = Saga::of(&[work("A")]).in_flight(&["A"]).cancel().pass(TIMEOUT_MS);
    saga.try_answer("A", 1, yes()).unwrap();
    assert_eq!(late(&saga), 1);
    assert_eq!(saga.try_answer("A", 1, yes()), Err(Rejected::Stale));
    assert_eq!(late(&saga), 1);
}

#[test]
fn it_is_recorded_once() {
    let mut saga = given_up().complete("A");
    let again = Completion::Succeeded(Payload::new("2"));
    assert_eq!(saga.try_complete("A", again.clone()), Err(Rejected::Answered));
    saga = saga.acknowledge();
    assert_eq!(saga.try_complete("A", again), Err(Rejected::Answered));
    assert_eq!(late(&saga), 1);
    saga.expect_attention(&[]);
}

#[test]
fn the_attention_stays_after_the_end_until_it_is_acknowledged() {
    let saga = given_up()
        .complete("A")
        .succeed("~A")
        .expect_compensated(Reason::Cancelled)
        .expect_attention(&[(Cause::LateSuccess, 0)])
        .expect_allowed(&["acknowledge"])
        .acknowledge()
        .expect_attention(&[])
        .expect_allowed(&[]);
    assert_eq!(saga.last(), ["operator"]);
}

#[test]
fn a_success_after_the_end_changes_nothing() {
    let mut saga = given_up().succeed("~A").expect_compensated(Reason::Cancelled);
    let late = Completion::Succeeded(Payload::new("1"));
    assert_eq!(saga.try_complete("A", late), Err(Rejected::Ended));
    assert_eq!(saga.try_answer("A", 1, yes()), Err(Rejected::Ended));
}

#[test]
fn a_late_success_changes_nothing_of_what_is_undone() {
    given_up()
        .expect_due(&["~A"])
        .complete("A")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Cancelled);
    given_up()
        .complete("A")
        .skip("~A")
        .expect_compensated(Reason::Cancelled)
        .expect_attention(&[(Cause::LateSuccess, 0)]);
}

/// The saga waits for the attempt as rule 3 has it, so that what an operator was wrong about is noticed before the end.
#[test]
fn the_success_of_an_attempt_in_flight_when_its_action_was_written_off_is_late() {
    let saga = Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .in_flight(&["P"])
        .resolve_failed("P")
        .expect_unwinding(Reason::Operator)
        .expect_due(&[]);
    assert_eq!(saga.alarm_in(), Some(TIMEOUT_MS));
    let mut saga = saga;
    saga.try_answer("P", 1, yes()).unwrap();
    assert_eq!(saga.last(), ["late_success"]);
    saga.expect_attention(&[(Cause::LateSuccess, 0)])
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Operator)
        .expect_attention(&[(Cause::LateSuccess, 0)]);
}

#[test]
fn what_was_written_off_stays_refused_when_its_attempt_ends_otherwise() {
    let watched = Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .in_flight(&["P"])
        .resolve_failed("P");
    let unknown = Outcome::Failed {
        class: saga_core::FailureClass::Unknown,
        error: error("?"),
    };
    for outcome in [unknown, Outcome::Pending] {
        let mut saga = watched.clone();
        saga.try_answer("P", 1, outcome).unwrap();
        let saga = saga.expect_due(&["~A"]).expect_attention(&[]);
        assert!(matches!(saga.op("P"), OpState::Refused(_)));
        assert_eq!(saga.alarm_in(), None);
    }
    let saga = watched.clone().pass(TIMEOUT_MS - 1).expect_due(&[]);
    let saga = saga.pass(1).expect_due(&["~A"]);
    assert!(matches!(saga.op("P"), OpState::Refused(_)));
    watched.crash().finish().expect_compensated(Reason::Operator);
}

#[test]
fn a_success_by_token_of_what_was_written_off_is_late() {
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .pending("B")
        .resolve_failed("B")
        .expect_due(&["~A"]);
    let mut told = saga.clone();
    let no = Completion::Failed(error("no"));
    assert_eq!(told.try_complete("B", no), Err(Rejected::GivenUp));
    saga.complete("B").expect_attention(&[(Cause::LateSuccess, 0)]);
}

/// Its "no" was its own; a second answer of the same participant is a second answer.
#[test]
fn a_success_after_a_refusal_is_not_late_but_wrong() {
    let mut saga = Saga::of(&[work("A"), work("B")]).succeed("A").refuse("B");
    assert_eq!(saga.try_answer("B", 1, yes()), Err(Rejected::Stale));
    let late = Completion::Succeeded(Payload::new("1"));
    assert_eq!(saga.try_complete("B", late), Err(Rejected::Answered));
}
