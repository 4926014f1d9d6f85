//! Steps whose condition does not hold.

use saga_core::{Cause, Event, FailureClass, OpState, Phase, Reason};

use crate::dsl::*;

#[test]
fn a_step_whose_condition_does_not_hold_is_left_out() {
    let saga = Saga::of(&[work("A"), work("B").when(), onward("R")])
        .succeed("A")
        .left_out("B")
        .expect_due(&["R"]);
    assert_eq!(saga.last(), ["skipped", "committed"]);
    assert_eq!(saga.state.reply(1), None);
    saga.succeed("R").expect_completed();
}

#[test]
fn a_step_whose_condition_holds_is_a_step_like_any_other() {
    Saga::of(&[work("A").when(), work("B")])
        .succeed("A")
        .refuse("B")
        .expect_due(&["~A"]);
}

#[test]
fn what_was_left_out_is_not_undone() {
    Saga::of(&[work("A"), work("B").when(), work("C")])
        .succeed("A")
        .left_out("B")
        .refuse("C")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn a_join_takes_what_was_left_out_for_done() {
    Saga::of(&[
        work("A").after(&[]).when(),
        work("B").after(&[]),
        work("C").after(&["A", "B"]),
    ])
    .left_out("A")
    .expect_due(&["B"])
    .succeed("B")
    .expect_due(&["C"])
    .succeed("C")
    .expect_completed();
}

#[test]
fn a_pivot_that_is_left_out_passes_the_commit_point() {
    let mut saga = Saga::of(&[work("A"), pivot("P").when(), onward("R")])
        .succeed("A")
        .left_out("P")
        .expect_due(&["R"]);
    assert!(saga.state.committed());
    assert!(saga.try_cancel().is_err());
}

#[test]
fn a_saga_can_leave_out_everything() {
    let saga = Saga::of(&[work("A").when(), onward("R").when()])
        .left_out("A")
        .left_out("R")
        .expect_completed();
    assert_eq!(saga.last(), ["skipped", "ended"]);
}

#[test]
fn a_condition_can_be_found_not_to_hold_while_the_saga_unwinds() {
    let saga = Saga::of(&[work("A").when()])
        .in_flight(&["A"])
        .cancel()
        .left_out("A")
        .expect_compensated(Reason::Cancelled);
    assert_eq!(*saga.op("A"), OpState::Skipped);
}

#[test]
fn a_condition_is_looked_at_again_after_a_load() {
    Saga::of(&[work("A").when().probed()])
        .crash()
        .left_out("A")
        .expect_completed();
}

#[test]
fn a_step_without_a_condition_is_not_left_out() {
    let saga = Saga::of(&[work("A")])
        .left_out("A")
        .expect_running()
        .expect_attention(&[(Cause::Misconfigured, 0)]);
    assert_eq!(saga.count(|event| matches!(event, Event::Skipped { .. })), 0);
    let saga = Saga::of(&[work("A").when()]).cancel().left_out("~A");
    assert_eq!(saga.state.phase(), Phase::Compensating);
    let saga = Saga::of(&[work("A")]).in_flight(&["A"]).cancel().left_out("A");
    assert_eq!(*saga.op("A"), OpState::Abandoned);
}

#[test]
fn attempts_that_failed_before_do_not_keep_a_step_from_being_left_out() {
    Saga::of(&[work("A").when()])
        .fail_times("A", FailureClass::Misconfigured, 2)
        .left_out("A")
        .expect_completed();
}
