//! Rules 4 and 9: attempts, and the waits between them.

use proptest::prelude::*;
use saga_core::{Backoff, FailureClass, Reason};

use crate::dsl::*;

#[test]
fn the_attempt_rises_with_every_failure_and_only_then() {
    let saga = Saga::of(&[work("A")]);
    assert_eq!(saga.open("A").attempt, 1);
    let saga = saga.pending("A").crash();
    assert_eq!(saga.open("A").attempt, 1);
    let saga = saga.fail("A").crash().fail_as("A", FailureClass::Unsent);
    assert_eq!(saga.open("A").attempt, 3);
}

#[test]
fn calls_that_never_left_do_not_use_up_retries() {
    Saga::of(&[work("A").retries(1)])
        .fail_times("A", FailureClass::Unsent, 50)
        .expect_running()
        .fail("A")
        .fail_as("A", FailureClass::Unsent)
        .expect_running()
        .fail("A")
        .expect_unwinding(Reason::Exhausted);
}

#[test]
fn calls_that_are_not_let_in_do_not_use_up_retries() {
    Saga::of(&[work("A").retries(0)])
        .fail_times("A", FailureClass::Misconfigured, 50)
        .expect_running()
        .succeed("A")
        .expect_completed();
}

#[test]
fn progress_gives_the_retries_back() {
    Saga::of(&[work("A").retries(1)])
        .fail("A")
        .pending("A")
        .fail("A")
        .expect_running()
        .fail("A")
        .expect_unwinding(Reason::Exhausted);
}

#[test]
fn no_retries_means_one_call() {
    Saga::of(&[work("A").retries(0)])
        .fail("A")
        .expect_unwinding(Reason::Exhausted);
}

#[test]
fn compensations_retriable_steps_and_the_epilogue_are_repeated_without_end() {
    let times = 100;
    Saga::of(&[work("A"), onward("R").retries(0)])
        .succeed("A")
        .fail_times("R", FailureClass::Unknown, times)
        .succeed("R")
        .expect_completed();
    Saga::with_epilogue(&[work("A")], "E")
        .cancel()
        .fail_times("~A", FailureClass::Unknown, times)
        .succeed("~A")
        .fail_times("E", FailureClass::Unknown, times)
        .succeed("E")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn waits_grow_to_the_cap_and_are_told_with_the_call() {
    let mut saga = Saga::of(&[work("A").retries(9)]).jitter(u32::MAX);
    for bound in [100, 200, 400, 800, 1_000, 1_000] {
        saga = saga.fail("A");
        assert_eq!(saga.waits_ms("A"), bound);
        let due = saga.state.due(&saga.plan).next().unwrap();
        assert_eq!(due.not_before, Some(saga.now.plus(bound)));
    }
    assert_eq!(saga.jitter(0).fail("A").waits_ms("A"), 1);
}

#[test]
fn by_default_there_are_three_retries_within_ten_seconds_of_each_other() {
    let backoff = Backoff::default();
    assert_eq!(backoff.retries, 3);
    assert_eq!(backoff.wait_ms(1, u32::MAX), 200);
    assert_eq!(backoff.wait_ms(1_000, u32::MAX), 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wait_is_never_zero_and_never_above_the_cap(
        initial_ms in 0_u64..1_000_000,
        factor in prop_oneof![0.0..10.0, Just(f64::INFINITY), Just(f64::NAN)],
        max_ms in 0_u64..1_000_000_000,
        failures: u32,
        jitter: u32,
    ) {
        let backoff = Backoff { retries: 0, initial_ms, factor, max_ms };
        let wait = backoff.wait_ms(failures, jitter);
        prop_assert!((1..=max_ms.max(1)).contains(&wait), "{wait}");
    }
}
