//! Rule 9: attention is a flag beside the phase.

use saga_core::{Cause, Event, FailureClass, Phase, Reason, Recorded};

use crate::dsl::*;

#[test]
fn an_operation_that_keeps_failing_needs_attention_and_slows_down() {
    let saga = Saga::of(&[pivot("P")])
        .fail_times("P", FailureClass::Unknown, 10)
        .expect_attention(&[]);
    assert!(saga.waits_ms("P") < ATTENTION_WAIT_MS);
    let saga = saga.fail("P").expect_attention(&[(Cause::KeepsFailing, 0)]);
    assert!(saga.waits_ms("P") >= ATTENTION_WAIT_MS);
    assert_eq!(saga.state.attention().next().unwrap().step, Some(0));
}

#[test]
fn a_participant_that_is_long_out_of_reach_needs_attention() {
    let saga = Saga::of(&[work("A")])
        .fail_times("A", FailureClass::Unsent, 10)
        .expect_attention(&[])
        .fail_as("A", FailureClass::Unsent)
        .expect_attention(&[(Cause::Unreachable, 0)]);
    assert!(saga.waits_ms("A") >= ATTENTION_WAIT_MS);
}

#[test]
fn a_participant_that_answered_in_between_is_not_long_out_of_reach() {
    for class in [FailureClass::Unknown, FailureClass::Misconfigured] {
        let saga = Saga::of(&[work("A")])
            .fail_times("A", FailureClass::Unsent, 10)
            .fail_as("A", class)
            .fail_as("A", FailureClass::Unsent);
        assert!(
            saga.attention()
                .iter()
                .all(|(cause, _)| *cause != Cause::Unreachable)
        );
    }
}

#[test]
fn not_being_let_in_needs_attention_at_once_and_goes_on_slowly() {
    let saga = Saga::of(&[work("A")])
        .fail_as("A", FailureClass::Misconfigured)
        .expect_attention(&[(Cause::Misconfigured, 0)]);
    assert!(saga.waits_ms("A") >= ATTENTION_WAIT_MS);
    saga.expect_due(&["A"])
        .succeed("A")
        .expect_completed()
        .expect_attention(&[]);
}

#[test]
fn attention_is_kept_since_it_was_raised() {
    Saga::of(&[work("A")])
        .fail_as("A", FailureClass::Misconfigured)
        .wait(70_000)
        .fail_as("A", FailureClass::Misconfigured)
        .expect_attention(&[(Cause::Misconfigured, 70_000)])
        .crash()
        .expect_attention(&[(Cause::Misconfigured, 70_000)])
        .wait(1)
        .fail("A")
        .expect_attention(&[(Cause::Misconfigured, 70_001)]);
}

#[test]
fn another_cause_counts_from_its_own_beginning() {
    Saga::of(&[pivot("P")])
        .fail_times("P", FailureClass::Unknown, 11)
        .wait(5)
        .fail_as("P", FailureClass::Misconfigured)
        .expect_attention(&[(Cause::Misconfigured, 0)]);
}

#[test]
fn pending_clears_attention_and_the_fast_rate_comes_back() {
    let saga = Saga::of(&[pivot("P")])
        .fail_times("P", FailureClass::Unknown, 11)
        .pending("P")
        .expect_attention(&[])
        .fail("P")
        .expect_attention(&[]);
    assert!(saga.waits_ms("P") < ATTENTION_WAIT_MS);
}

#[test]
fn no_attempt_of_an_operation_that_needs_attention_comes_sooner_than_the_attention_wait() {
    let saga = Saga::of(&[pivot("P")])
        .fail_as("P", FailureClass::Misconfigured)
        .fail("P")
        .expect_attention(&[(Cause::Misconfigured, 0)]);
    assert!(saga.waits_ms("P") >= ATTENTION_WAIT_MS, "{}", saga.waits_ms("P"));
}

#[test]
fn a_step_with_a_limit_of_retries_is_not_slowed_down_before_it() {
    let saga = Saga::of(&[work("A").retries(20)])
        .fail_times("A", FailureClass::Unknown, 15)
        .expect_attention(&[]);
    assert!(saga.waits_ms("A") <= BACKOFF.max_ms, "{}", saga.waits_ms("A"));
    saga.fail_times("A", FailureClass::Unknown, 6)
        .expect_unwinding(Reason::Exhausted);
}

#[test]
fn a_no_to_what_cannot_be_refused_needs_attention_and_heals() {
    let needs_attention = |saga: Saga, name: &str| {
        let saga = saga
            .refuse_stored(name)
            .expect_attention(&[(Cause::CannotBeRefused, 0)])
            .expect_due(&[name]);
        assert!(saga.waits_ms(name) >= ATTENTION_WAIT_MS);
        saga.succeed(name).expect_attention(&[])
    };
    let saga = Saga::of(&[work("A"), onward("R")]).succeed("A");
    needs_attention(saga, "R").expect_completed();
    let saga = Saga::with_epilogue(&[work("A")], "E").cancel();
    let saga = needs_attention(saga, "~A");
    needs_attention(saga, "E").expect_compensated(Reason::Cancelled);
}

#[test]
fn turning_round_clears_the_attention_of_what_is_given_up() {
    Saga::of(&[work("A")])
        .fail_as("A", FailureClass::Misconfigured)
        .in_flight(&["A"])
        .cancel()
        .expect_attention(&[]);
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
