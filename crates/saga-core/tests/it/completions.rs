//! Answers by token or event: for the operation, whatever the attempt.

use saga_core::{Cause, Completion, FailureClass, OpState, Payload, Reason, Rejected};

use crate::dsl::*;

fn yes() -> Completion {
    Completion::Succeeded(Payload::new("1"))
}

fn no() -> Completion {
    Completion::Failed(error("no"))
}

#[track_caller]
fn changes_nothing(saga: &Saga, name: &str, result: Completion, why: Rejected) {
    let mut after = saga.clone();
    assert_eq!(after.try_complete(name, result), Err(why));
    assert_eq!(after.state, saga.state);
    assert_eq!(after.transitions, saga.transitions);
}

#[test]
fn a_completion_answers_the_operation_whatever_the_attempt() {
    let saga = Saga::of(&[work("A")]);
    saga.clone().pending("A").complete("A").expect_completed();
    saga.clone()
        .fail_times("A", FailureClass::Unknown, 2)
        .complete("A")
        .expect_completed();
    saga.clone().crash().complete("A").expect_completed();
    let saga = saga.in_flight(&["A"]).complete("A").expect_completed();
    assert_eq!(saga.state.reply(0), Some(&Payload::new("\"A by token\"")));
}

#[test]
fn an_answer_to_the_call_that_comes_after_the_completion_is_stale() {
    let mut saga = Saga::of(&[work("A"), work("B")]).in_flight(&["A"]).complete("A");
    let outcome = saga_core::Outcome::Refused {
        error: error("no"),
        stored: true,
    };
    assert_eq!(saga.try_answer("A", 1, outcome), Err(Rejected::Stale));
    saga.expect_due(&["B"]);
}

#[test]
fn a_failed_completion_is_definite_even_after_attempts_of_unknown_outcome() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .fail("B")
        .complete_failed("B")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
}

#[test]
fn a_failed_completion_of_the_pivot_unwinds() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .pending("P")
        .complete_failed("P")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
}

#[test]
fn a_failed_completion_of_what_cannot_be_refused_needs_attention_and_the_call_is_repeated() {
    let saga = Saga::of(&[work("A"), onward("R")])
        .succeed("A")
        .pending("R")
        .complete_failed("R")
        .expect_attention(&[(Cause::CannotBeRefused, 0)])
        .expect_due(&["R"]);
    assert!(saga.waits_ms("R") >= ATTENTION_WAIT_MS);
    saga.complete("R").expect_completed();
}

/// Whoever holds the token could put off the next attempt for ever otherwise.
#[test]
fn a_second_no_to_what_cannot_be_refused_puts_nothing_off() {
    let saga = Saga::of(&[onward("R")]).complete_failed("R").wait(1_000);
    changes_nothing(&saga, "R", no(), Rejected::Answered);
    saga.succeed("R").expect_completed();
}

#[test]
fn a_completion_before_the_start_of_the_operation_changes_nothing() {
    let saga = Saga::of(&[work("A"), work("B")]);
    for result in [yes(), no()] {
        changes_nothing(&saga, "B", result.clone(), Rejected::NotOpen);
        changes_nothing(&saga, "~A", result, Rejected::NotOpen);
    }
    let mut saga = saga;
    let key = saga_core::OpKey {
        step: 9,
        ..saga.key("A")
    };
    let input = saga_core::Input::Completed { key, result: yes() };
    assert_eq!(saga.try_handle(input), Err(Rejected::NotOpen));
}

#[test]
fn a_completion_of_what_has_its_answer_changes_nothing() {
    let saga = Saga::of(&[work("A"), work("B").when(), work("C"), work("D")])
        .complete("A")
        .left_out("B")
        .refuse("C");
    for result in [yes(), no()] {
        for name in ["A", "B", "C"] {
            changes_nothing(&saga, name, result.clone(), Rejected::Answered);
        }
        changes_nothing(&saga, "D", result, Rejected::NotOpen);
    }
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .cancel()
        .skip("~B")
        .complete("~A")
        .expect_compensated(Reason::Cancelled);
    for result in [yes(), no()] {
        changes_nothing(&saga, "~A", result, Rejected::Ended);
    }
}

#[test]
fn a_compensation_and_the_epilogue_can_be_completed() {
    Saga::with_epilogue(&[work("A")], "E")
        .cancel()
        .pending("~A")
        .complete("~A")
        .pending("E")
        .complete_failed("E")
        .expect_attention(&[(Cause::CannotBeRefused, 0)])
        .complete("E")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn a_completion_while_the_saga_waits_the_action_out_is_its_answer() {
    let draining = Saga::of(&[work("A")]).pending("A").in_flight(&["A"]).cancel();
    draining
        .clone()
        .complete("A")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Cancelled)
        .expect_attention(&[]);
    let saga = draining
        .complete_failed("A")
        .expect_compensated(Reason::Cancelled);
    assert!(matches!(saga.op("A"), OpState::Refused(_)));
}

#[test]
fn a_failed_completion_of_what_was_given_up_is_told_so() {
    let saga = Saga::of(&[work("A")]).pending("A").cancel();
    changes_nothing(&saga, "A", no(), Rejected::GivenUp);
}
