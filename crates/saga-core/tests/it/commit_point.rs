//! Rule 2: until when a saga can be undone.

use saga_core::{Cause, Event, FailureClass, Reason, Rejected};

use crate::dsl::*;

fn commits(saga: &Saga) -> usize {
    saga.count(|event| matches!(event, Event::Committed))
}

#[test]
fn the_pivots_success_is_the_commit_point() {
    let saga = Saga::of(&[work("A"), pivot("P"), onward("R")])
        .expect_due(&["A"])
        .succeed("A")
        .expect_due(&["P"]);
    assert!(!saga.state.committed());
    let saga = saga.succeed("P").expect_due(&["R"]);
    assert!(saga.state.committed());
    let saga = saga.succeed("R").expect_completed();
    assert_eq!(commits(&saga), 1);
}

#[test]
fn without_a_pivot_the_last_compensatable_step_is_the_commit_point() {
    let saga = Saga::of(&[work("A"), work("B"), onward("R")]).succeed("A");
    assert!(!saga.state.committed());
    let saga = saga.succeed("B");
    assert!(saga.state.committed());
    let saga = saga.expect_due(&["R"]).succeed("R").expect_completed();
    assert_eq!(commits(&saga), 1);
}

#[test]
fn a_saga_of_compensatable_steps_commits_and_ends_with_the_last_of_them() {
    let saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .succeed("B")
        .expect_completed();
    assert_eq!(commits(&saga), 1);
    assert!(saga.state.committed());
}

#[test]
fn a_plan_of_retriable_steps_is_past_its_commit_point_from_the_start() {
    let mut saga = Saga::of(&[onward("A"), onward("B")]);
    assert!(saga.state.committed());
    assert_eq!(saga.try_cancel(), Err(Rejected::PastCommitPoint));
    saga.pass(DEADLINE_MS)
        .expect_running()
        .succeed("A")
        .succeed("B")
        .expect_completed();
}

#[test]
fn a_cancel_before_the_pivot_is_startable_unwinds_and_never_starts_it() {
    let saga = Saga::of(&[work("A"), work("B"), pivot("P")])
        .succeed("A")
        .in_flight(&["B"])
        .cancel()
        .succeed("B")
        .expect_due(&["~B"])
        .succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Cancelled);
    assert!(saga.state.op(saga.key("P")).is_some_and(|op| op.open().is_none()));
}

#[test]
fn a_cancel_after_the_pivot_became_startable_is_refused() {
    let mut saga = Saga::of(&[work("A"), pivot("P"), onward("R")]).succeed("A");
    assert!(!saga.state.cancellable(&saga.plan));
    assert_eq!(saga.try_cancel(), Err(Rejected::PastCommitPoint));
    saga = saga.succeed("P");
    assert_eq!(saga.try_cancel(), Err(Rejected::PastCommitPoint));
    saga.expect_due(&["R"]).succeed("R").expect_completed();
}

#[test]
fn a_pivot_that_stands_first_cannot_be_cancelled() {
    let mut saga = Saga::of(&[pivot("P")]);
    assert_eq!(saga.try_cancel(), Err(Rejected::PastCommitPoint));
    saga.succeed("P").expect_completed();
}

#[test]
fn a_started_pivot_is_repeated_for_ever_and_an_unknown_outcome_never_unwinds_it() {
    let saga = Saga::of(&[work("A"), pivot("P").retries(0)])
        .succeed("A")
        .fail_times("P", FailureClass::Unknown, 200)
        .pass(DEADLINE_MS)
        .expect_running()
        .expect_due(&["P"]);
    assert_eq!(saga.open("P").attempt, 201);
    saga.succeed("P").expect_completed();
}

#[test]
fn a_pivot_can_be_refused_and_everything_before_it_is_undone() {
    Saga::of(&[work("A"), work("B"), pivot("P"), onward("R")])
        .succeed("A")
        .succeed("B")
        .refuse("P")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~B"])
        .succeed("~B")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn the_deadline_before_the_commit_point_unwinds() {
    let saga = Saga::of(&[work("A"), work("B"), pivot("P")])
        .succeed("A")
        .pass(DEADLINE_MS - 1)
        .expect_running()
        .pass(1)
        .expect_unwinding(Reason::Timeout);
    assert_eq!(saga.state.failed_step(), Some(1));
    assert_eq!(&*saga.state.error().unwrap().reason, "DEADLINE_PASSED");
    saga.succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Timeout);
}

#[test]
fn the_deadline_after_the_commit_point_is_flagged_once_and_forward_goes_on() {
    let saga = Saga::of(&[work("A"), onward("R")])
        .succeed("A")
        .pass(DEADLINE_MS)
        .expect_running()
        .expect_attention(&[(Cause::DeadlinePassed, 0)]);
    assert_eq!(saga.alarm_in(), None);
    let saga = saga.pass(1_000).pass(DEADLINE_MS);
    assert_eq!(saga.count(|event| matches!(event, Event::DeadlineMissed)), 1);
    saga.expect_attention(&[(Cause::DeadlinePassed, DEADLINE_MS + 1_000)])
        .succeed("R")
        .expect_completed()
        .expect_attention(&[]);
}

#[test]
fn the_deadline_at_a_started_pivot_is_flagged_and_does_not_unwind() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .pass(DEADLINE_MS)
        .expect_running()
        .expect_attention(&[(Cause::DeadlinePassed, 0)])
        .expect_due(&["P"])
        .succeed("P")
        .expect_completed();
}
