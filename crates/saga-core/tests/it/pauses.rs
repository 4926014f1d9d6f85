//! A paused saga calls nothing; what was called is still heard, and time goes on.

use saga_core::{Cause, Command, Reason, Rejected};

use crate::dsl::*;

#[test]
fn a_paused_saga_calls_nothing_until_it_is_resumed() {
    let saga = Saga::of(&[work("A")]).pause().expect_due(&[]).wait(10);
    assert_eq!(saga.state.paused(), Some(T0));
    let saga = saga.crash().expect_due(&[]).resume();
    assert_eq!(saga.state.paused(), None);
    saga.expect_due(&["A"]).succeed("A").expect_completed();
}

#[test]
fn the_answers_to_calls_in_flight_are_recorded() {
    Saga::of(&[work("A"), work("B"), onward("R")])
        .in_flight(&["A"])
        .pause()
        .succeed("A")
        .expect_due(&[])
        .complete("B")
        .expect_due(&[])
        .resume()
        .expect_due(&["R"]);
}

#[test]
fn a_paused_saga_can_end() {
    let saga = Saga::of(&[work("A")]).in_flight(&["A"]).pause().succeed("A");
    assert_eq!(saga.state.paused(), None);
    saga.expect_completed();
}

#[test]
fn the_deadline_goes_on() {
    let saga = Saga::of(&[work("A")])
        .pause()
        .pass(DEADLINE_MS)
        .expect_unwinding(Reason::Timeout)
        .expect_due(&[]);
    assert_eq!(saga.alarm_in(), None);
    saga.resume().expect_due(&["~A"]);
    Saga::of(&[work("A"), onward("R")])
        .succeed("A")
        .pause()
        .pass(DEADLINE_MS)
        .expect_attention(&[(Cause::DeadlinePassed, 0)]);
}

#[test]
fn the_expiry_of_a_step_that_waits_for_a_person_goes_on() {
    let saga = Saga::of(&[person("H")]).pending("H").pause();
    assert_eq!(saga.alarm_in(), Some(EXPIRES_MS));
    saga.pass(EXPIRES_MS)
        .expect_unwinding(Reason::Timeout)
        .expect_due(&[]);
}

#[test]
fn an_action_in_flight_is_waited_for_while_paused() {
    let saga = Saga::of(&[work("A")]).in_flight(&["A"]).pause().cancel();
    assert_eq!(saga.alarm_in(), Some(TIMEOUT_MS));
    saga.clone()
        .succeed("A")
        .expect_due(&[])
        .resume()
        .expect_due(&["~A"]);
    saga.pass(TIMEOUT_MS).expect_due(&[]).resume().expect_due(&["~A"]);
}

#[test]
fn compensations_are_held_back_too() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .cancel()
        .pause()
        .expect_due(&[])
        .complete("~B")
        .expect_due(&[])
        .resume()
        .expect_due(&["~A"]);
}

#[test]
fn pausing_twice_or_resuming_what_is_not_paused_is_not_allowed() {
    let mut saga = Saga::of(&[work("A")]);
    assert_eq!(saga.try_operate(Command::Resume), Err(Rejected::NotAllowed));
    saga = saga.pause();
    assert_eq!(saga.try_operate(Command::Pause), Err(Rejected::NotAllowed));
}

/// The retry is remembered, and made when the pause ends.
#[test]
fn operators_go_on_while_it_is_paused() {
    let saga = Saga::of(&[work("A"), work("B")])
        .fail("A")
        .pause()
        .retry_now("A")
        .expect_due(&[])
        .resume();
    assert_eq!(saga.waits_ms("A"), 0);
    let saga = saga.pause().resolve_succeeded("A").expect_due(&[]);
    saga.resolve_failed("B")
        .expect_unwinding(Reason::Operator)
        .expect_due(&[]);
}
