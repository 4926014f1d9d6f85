//! Probes: asking what became of an action, instead of repeating it.

use saga_core::{Cause, Event, FailureClass, OpState, Outcome, Reason};

use crate::dsl::*;

#[test]
fn an_unknown_outcome_is_probed_and_not_repeated() {
    Saga::of(&[work("A").probed()])
        .expect_probes(&[("A", false)])
        .fail("A")
        .expect_probes(&[("A", true)])
        .fail("A")
        .expect_probes(&[("A", true)])
        .succeed("A")
        .expect_completed();
}

#[test]
fn a_step_without_a_probe_is_repeated() {
    Saga::of(&[work("A")]).fail("A").expect_probes(&[("A", false)]);
}

#[test]
fn what_certainly_never_left_is_called_again() {
    Saga::of(&[work("A").probed()])
        .fail_as("A", FailureClass::Unsent)
        .expect_probes(&[("A", false)]);
}

#[test]
fn not_being_let_in_proves_nothing_so_it_is_probed() {
    Saga::of(&[work("A").probed()])
        .fail_as("A", FailureClass::Misconfigured)
        .expect_probes(&[("A", true)]);
}

#[test]
fn what_the_participant_has_not_seen_is_called_again_almost_at_once() {
    let saga = Saga::of(&[work("A").probed()])
        .fail("A")
        .not_seen("A")
        .expect_probes(&[("A", false)]);
    assert!(saga.waits_ms("A") <= BACKOFF.initial_ms);
    assert_eq!(saga.open("A").attempt, 3);
    let class = |event: &Event| matches!(event, Event::Failed { failure, .. } if failure.class == FailureClass::NotSeen);
    assert_eq!(saga.count(class), 1);
    saga.fail("A").expect_probes(&[("A", true)]);
}

#[test]
fn a_call_that_never_left_keeps_what_the_probe_said() {
    Saga::of(&[work("A").probed()])
        .fail("A")
        .not_seen("A")
        .fail_as("A", FailureClass::Unsent)
        .expect_probes(&[("A", false)]);
}

/// The first attempt may still be on its way when the probe is answered.
#[test]
fn not_seen_does_not_make_an_unmarked_refusal_definite() {
    let saga = Saga::of(&[work("A"), pivot("P").probed()])
        .succeed("A")
        .fail("P")
        .not_seen("P");
    assert!(saga.open("P").unresolved);
    saga.clone()
        .refuse("P")
        .expect_running()
        .expect_probes(&[("P", true)]);
    saga.refuse_stored("P").expect_unwinding(Reason::Refused);
}

#[test]
fn a_probe_of_the_pivot_never_unwinds_it_unless_it_is_refused_for_good() {
    let probing = Saga::of(&[work("A"), pivot("P").probed().retries(0)])
        .succeed("A")
        .fail_times("P", FailureClass::Unknown, 30)
        .refuse("P")
        .not_seen("P")
        .fail("P")
        .pass(DEADLINE_MS)
        .expect_running()
        .expect_probes(&[("P", true)]);
    probing.clone().succeed("P").expect_completed();
    probing
        .refuse_stored("P")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["~A"]);
}

#[test]
fn the_failures_of_a_probe_count_like_those_of_the_action() {
    let saga = Saga::of(&[work("A").probed().retries(2)])
        .fail("A")
        .fail("A")
        .expect_running();
    saga.clone().fail("A").expect_unwinding(Reason::Exhausted);
    // What was not seen is no failure, and forgives none.
    saga.not_seen("A")
        .expect_running()
        .fail("A")
        .expect_unwinding(Reason::Exhausted);
    Saga::of(&[pivot("P").probed()])
        .fail_times("P", FailureClass::Unknown, 11)
        .expect_attention(&[(Cause::KeepsFailing, 0)])
        .not_seen("P")
        .expect_attention(&[(Cause::KeepsFailing, 0)])
        .succeed("P")
        .expect_attention(&[]);
}

/// The probe has waited as long as attention asks for; the action follows it.
#[test]
fn what_the_participant_has_not_seen_is_not_slowed_down_by_attention() {
    let saga = Saga::of(&[pivot("P").probed()])
        .fail_times("P", FailureClass::Unknown, 11)
        .not_seen("P");
    assert!(saga.waits_ms("P") <= BACKOFF.initial_ms);
    assert!(saga.fail("P").waits_ms("P") >= ATTENTION_WAIT_MS);
}

#[test]
fn what_the_participant_has_not_seen_is_not_pending() {
    let saga = Saga::of(&[work("A").probed()]).pending("A").not_seen("A");
    assert!(!saga.open("A").pending);
}

#[test]
fn not_being_let_in_after_the_participant_had_not_seen_it_is_probed() {
    Saga::of(&[work("A").probed()])
        .fail("A")
        .not_seen("A")
        .fail_as("A", FailureClass::Misconfigured)
        .expect_probes(&[("A", true)]);
}

#[test]
fn a_participant_that_answers_probes_is_not_out_of_reach() {
    let saga = Saga::of(&[work("A").probed()])
        .fail("A")
        .fail_times("A", FailureClass::Unsent, 10)
        .not_seen("A");
    assert_eq!(saga.open("A").unsent, 0);
}

#[test]
fn what_is_pending_is_asked_for_by_the_probe() {
    let saga = Saga::of(&[work("A").probed()])
        .pending("A")
        .expect_probes(&[("A", true)]);
    assert!(saga.state.due(&saga.plan).next().unwrap().pending);
    saga.pending("A")
        .expect_probes(&[("A", true)])
        .succeed("A")
        .expect_completed();
}

#[test]
fn pending_after_the_participant_had_not_seen_it_is_news() {
    let saga = Saga::of(&[work("A").probed()])
        .pending("A")
        .not_seen("A")
        .expect_probes(&[("A", false)])
        .pending("A")
        .expect_probes(&[("A", true)]);
    assert_eq!(saga.count(|event| matches!(event, Event::Pending { .. })), 2);
}

#[test]
fn a_load_probes_what_the_process_before_may_have_called() {
    Saga::of(&[work("A").probed(), work("B").probed()])
        .crash()
        .expect_probes(&[("A", true)])
        .not_seen("A")
        .expect_probes(&[("A", false)])
        .crash()
        .expect_probes(&[("A", true)])
        .succeed("A")
        .expect_probes(&[("B", false)]);
}

#[test]
fn compensations_are_repeated_and_not_probed() {
    Saga::of(&[work("A").probed()])
        .cancel()
        .fail("~A")
        .expect_probes(&[("~A", false)]);
}

#[test]
fn a_probe_in_flight_when_unwinding_begins_is_waited_for_as_a_call_is() {
    let draining = Saga::of(&[work("A").probed()])
        .fail("A")
        .in_flight(&["A"])
        .cancel()
        .expect_due(&[]);
    draining.clone().succeed("A").expect_due(&["~A"]);
    draining
        .clone()
        .refuse_stored("A")
        .expect_compensated(Reason::Cancelled);
    // The first attempt may still arrive, so it is undone all the same.
    for outcome in [Outcome::NotSeen, Outcome::Pending] {
        let saga = draining.clone().answer("A", outcome).expect_due(&["~A"]);
        assert_eq!(*saga.op("A"), OpState::Abandoned);
    }
}

#[test]
fn not_seen_without_a_probe_is_no_answer() {
    for saga in [
        Saga::of(&[work("A").retries(0)]),
        Saga::of(&[work("A").probed().retries(0)]),
    ] {
        saga.not_seen("A").expect_unwinding(Reason::Exhausted);
    }
    let saga = Saga::of(&[work("A")]).cancel().not_seen("~A").expect_due(&["~A"]);
    assert_eq!(saga.open("~A").failures, 1);
}
