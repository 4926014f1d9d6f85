//! The deadline's clock, and steps that wait for a person.

use saga_core::{Clock, Millis, Reason};

use crate::dsl::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn the_deadline_runs_from_the_start_of_the_saga() {
    let saga = Saga::of(&[work("A")]);
    assert_eq!(saga.alarm_in(), Some(DEADLINE_MS));
    assert_eq!(saga.wait(DEADLINE_MS / 2).alarm_in(), Some(DEADLINE_MS / 2));
}

#[test]
fn the_clock_stands_still_while_only_a_person_is_waited_for() {
    let saga = Saga::of(&[work("A"), person("H"), work("B")])
        .wait(1_000)
        .succeed("A");
    let left_ms = DEADLINE_MS - 1_000;
    assert_eq!(saga.state.clock(), Clock::Stopped { left_ms });
    assert_eq!(saga.alarm_in(), Some(EXPIRES_MS));
    let saga = saga.pass(DEADLINE_MS * 2).expect_running();
    let saga = saga.succeed("H");
    assert_eq!(
        saga.state.clock(),
        Clock::Running {
            until: saga.now.plus(left_ms)
        }
    );
    assert_eq!(saga.alarm_in(), Some(left_ms));
    saga.pass(left_ms).expect_unwinding(Reason::Timeout);
}

#[test]
fn the_clock_stands_still_from_the_start_if_the_first_step_waits_for_a_person() {
    let saga = Saga::of(&[person("H"), work("A")]);
    assert_eq!(saga.state.clock(), Clock::Stopped { left_ms: DEADLINE_MS });
}

#[test]
fn the_clock_runs_while_a_machine_step_is_open_beside_the_person() {
    let saga = Saga::of(&[
        person("H").after(&[]),
        work("A").after(&[]),
        work("B").after(&["H", "A"]),
    ]);
    assert_eq!(saga.alarm_in(), Some(DEADLINE_MS));
    let saga = saga.wait(10).succeed("A");
    assert_eq!(
        saga.state.clock(),
        Clock::Stopped {
            left_ms: DEADLINE_MS - 10
        }
    );
    let saga = saga.wait(HOUR_MS / 4).succeed("H");
    assert_eq!(saga.alarm_in(), Some(DEADLINE_MS - 10));
}

#[test]
fn a_person_who_does_not_come_lets_the_saga_unwind() {
    let saga = Saga::of(&[work("A"), person("H"), pivot("P")])
        .succeed("A")
        .in_flight(&["H"])
        .pass(EXPIRES_MS - 1)
        .expect_running()
        .pass(1)
        .expect_unwinding(Reason::Timeout)
        .expect_due(&[]);
    assert_eq!(saga.state.failed_step(), Some(1));
    let error = saga.state.error().unwrap();
    assert_eq!(
        (&*error.reason, &*error.code),
        ("STEP_EXPIRED", "DEADLINE_EXCEEDED")
    );
    saga.succeed("H")
        .expect_due(&["~H"])
        .succeed("~H")
        .succeed("~A")
        .expect_compensated(Reason::Timeout);
}

#[test]
fn the_step_that_expired_is_to_blame_and_not_one_that_is_open_beside_it() {
    let saga = Saga::of(&[work("A").after(&[]), person("H").after(&[])])
        .pass(EXPIRES_MS)
        .expect_unwinding(Reason::Timeout);
    assert_eq!(saga.state.failed_step(), Some(1));
}

#[test]
fn retries_and_pending_do_not_prolong_an_expiry() {
    Saga::of(&[person("H")])
        .pending("H")
        .wait(EXPIRES_MS / 2)
        .fail("H")
        .pending("H")
        .crash()
        .pass(EXPIRES_MS / 2)
        .expect_unwinding(Reason::Timeout);
}

#[test]
fn an_expiry_that_this_saga_was_not_given_does_not_stop_the_clock() {
    let plan = plan_of(&[person("H")], None).unwrap();
    let start = saga_core::Start {
        at: T0,
        deadline_ms: DEADLINE_MS,
        expires_ms: Vec::new(),
    };
    let state = saga_core::State::start(&plan, &start);
    assert_eq!(
        state.clock(),
        Clock::Running {
            until: T0.plus(DEADLINE_MS)
        }
    );
}

#[test]
fn an_alarm_that_is_answered_does_not_ring_again_for_the_same_thing() {
    let saga = Saga::of(&[work("A"), work("B")])
        .in_flight(&["A"])
        .pass(DEADLINE_MS);
    assert_eq!(saga.alarm_in(), Some(TIMEOUT_MS));
    assert_eq!(saga.pass(TIMEOUT_MS).alarm_in(), None);
}

#[test]
fn a_look_at_the_clock_too_early_changes_nothing() {
    let saga = Saga::of(&[work("A")]).pass(1).pass(0);
    assert!(saga.transitions.is_empty());
}

#[test]
fn an_instant_does_not_overflow() {
    assert_eq!(Millis(i64::MAX).plus(u64::MAX), Millis(i64::MAX));
    assert_eq!(Millis(i64::MIN).since(Millis(i64::MAX)), 0);
    assert_eq!(Millis(5).since(Millis(2)), 3);
}
