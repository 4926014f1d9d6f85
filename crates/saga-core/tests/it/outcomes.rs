//! Rule 1: what an answer says about the operation.

use saga_core::{Event, FailureClass, Reason};

use crate::dsl::*;

#[test]
fn an_unmarked_no_to_the_first_attempt_is_a_refusal() {
    Saga::of(&[work("A")])
        .refuse("A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn an_unmarked_no_after_an_unresolved_attempt_proves_nothing() {
    let saga = Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .fail("P")
        .refuse("P")
        .expect_running()
        .expect_due(&["P"]);
    assert_eq!(saga.open("P").attempt, 3);
    saga.succeed("P").expect_completed();
}

#[test]
fn a_stored_no_after_an_unresolved_attempt_is_a_refusal() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .fail("P")
        .refuse_stored("P")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
}

#[test]
fn an_unmarked_no_that_proves_nothing_uses_up_retries() {
    Saga::of(&[work("A").retries(1)])
        .fail("A")
        .refuse("A")
        .expect_unwinding(Reason::Exhausted)
        .expect_due(&["~A"]);
}

#[test]
fn an_unmarked_no_after_a_crash_proves_nothing() {
    Saga::of(&[work("A")])
        .crash()
        .refuse("A")
        .expect_running()
        .expect_due(&["A"])
        .refuse_stored("A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn an_unmarked_no_after_calls_that_never_left_is_a_refusal() {
    Saga::of(&[work("A")])
        .fail_times("A", FailureClass::Unsent, 3)
        .refuse("A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn a_misconfigured_attempt_is_unresolved_so_that_an_unmarked_no_proves_nothing() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .fail_as("P", FailureClass::Misconfigured)
        .refuse("P")
        .expect_running()
        .refuse_stored("P")
        .expect_unwinding(Reason::Refused);
}

#[test]
fn an_unmarked_no_after_pending_proves_nothing_and_a_stored_one_does() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .pending("B")
        .refuse("B")
        .expect_running()
        .pending("B")
        .refuse_stored("B")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
}

#[test]
fn pending_is_recorded_when_it_is_news_and_keeps_the_attempt() {
    let pendings = |saga: &Saga| saga.count(|event| matches!(event, Event::Pending { .. }));
    let saga = Saga::of(&[work("A")]).pending("A").pending("A").pending("A");
    assert_eq!(pendings(&saga), 1);
    assert_eq!(saga.open("A").attempt, 1);
    assert!(saga.state.due(&saga.plan).all(|due| due.pending));
    let saga = saga.fail("A").pending("A").pending("A");
    assert_eq!(pendings(&saga), 2);
    assert_eq!(saga.waits_ms("A"), 0, "when to ask again is said with the answer");
    assert_eq!(saga.open("A").attempt, 2);
    saga.succeed("A").expect_completed();
}

#[test]
fn only_actions_up_to_the_pivot_can_be_refused() {
    let refusable = |saga: &Saga| {
        saga.state
            .due(&saga.plan)
            .map(|d| d.refusable)
            .collect::<Vec<_>>()
    };
    let saga = Saga::of(&[work("A"), pivot("P"), onward("R")]);
    assert_eq!(refusable(&saga), [true]);
    let saga = saga.succeed("A");
    assert_eq!(refusable(&saga), [true]);
    assert_eq!(refusable(&saga.clone().refuse("P")), [false]);
    assert_eq!(refusable(&saga.succeed("P")), [false]);
}

#[test]
fn a_reply_is_kept_for_the_steps_that_follow() {
    let saga = Saga::of(&[work("A"), work("B")]).succeed("A").fail("B");
    assert_eq!(saga.state.reply(0).unwrap().json(), "\"A\"");
    assert_eq!(saga.state.reply(1), None);
    assert_eq!(saga.state.reply(9), None);
}
