//! Rule 9: attention is a flag beside the phase.

use saga_core::{Cause, Event, FailureClass, Phase, Reason, Recorded};

use crate::dsl::*;

#[test]
fn no_attempt_of_an_operation_that_needs_attention_comes_sooner_than_the_attention_wait() {
    let saga = Saga::of(&[pivot("P")])
        .fail_as("P", FailureClass::Misconfigured)
        .fail("P");
    assert_eq!(saga.attention(), [(Cause::Misconfigured, 0)]);
    assert!(saga.waits_ms("P") >= ATTENTION_WAIT_MS, "{}", saga.waits_ms("P"));
}

#[test]
fn a_step_with_a_limit_of_retries_is_not_slowed_down_before_it() {
    let saga = Saga::of(&[work("A").retries(20)]).fail_times("A", FailureClass::Unknown, 15);
    assert_eq!(saga.attention(), []);
    assert!(saga.waits_ms("A") <= BACKOFF.max_ms, "{}", saga.waits_ms("A"));
    saga.fail_times("A", FailureClass::Unknown, 6)
        .expect_unwinding(Reason::Exhausted);
}

#[test]
fn a_resolved_saga_asks_for_nothing() {
    let mut saga = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .cancel()
        .fail_as("~B", FailureClass::Misconfigured);
    let ended = Event::Ended {
        phase: Phase::Resolved,
    };
    saga.state
        .apply(&saga.plan, &Recorded::new(saga.now, None, ended));
    assert_eq!(saga.due(), Vec::<String>::new());
    assert_eq!(saga.attention(), []);
    assert_eq!(saga.alarm_in(), None);
}

#[test]
fn a_missed_deadline_is_no_concern_of_a_saga_that_unwinds_after_all() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .pass(DEADLINE_MS)
        .expect_attention(&[(Cause::DeadlinePassed, 0)])
        .refuse("P")
        .expect_unwinding(Reason::Refused)
        .expect_attention(&[]);
}
