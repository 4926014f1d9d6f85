//! Rule 7: what is derived from what was recorded is enough to go on.

use saga_core::{FailureClass, Reason, invariants};

use crate::dsl::*;

/// Crashes after every transition of a story, and lets what is left of it be driven to an end.
fn every_crash_can_be_recovered_from(saga: &Saga) {
    for transitions in 0..=saga.transitions.len() {
        let mut cut = saga.clone();
        cut.transitions.truncate(transitions);
        let cut = cut.crash();
        assert_eq!(
            invariants::broken_at_rest(&cut.plan, &cut.state),
            None,
            "{:#?}",
            cut.state
        );
        cut.finish();
    }
}

#[test]
fn a_saga_that_completes_can_be_recovered_at_every_point() {
    let saga = Saga::of(&[work("A"), person("H"), pivot("P"), onward("R")])
        .fail("A")
        .pending("A")
        .succeed("A")
        .pass(EXPIRES_MS / 2)
        .succeed("H")
        .fail_times("P", FailureClass::Unknown, 12)
        .pass(DEADLINE_MS)
        .succeed("P")
        .refuse("R")
        .succeed("R")
        .expect_completed();
    every_crash_can_be_recovered_from(&saga);
}

#[test]
fn a_saga_that_is_compensated_can_be_recovered_at_every_point() {
    let saga = Saga::with_epilogue(
        &[
            work("A"),
            work("B").after(&["A"]).compensated(false),
            work("C").after(&["A"]),
            pivot("P").after(&["B", "C"]),
        ],
        "E",
    )
    .succeed("A")
    .in_flight(&["B", "C"])
    .fail("C")
    .in_flight(&["B", "C"])
    .cancel()
    .succeed("B")
    .pass(TIMEOUT_MS)
    .fail_as("~C", FailureClass::Misconfigured)
    .succeed("~C")
    .pending("~A")
    .succeed("~A")
    .refuse("E")
    .succeed("E")
    .expect_compensated(Reason::Cancelled);
    every_crash_can_be_recovered_from(&saga);
}

#[test]
fn a_load_marks_what_is_open_as_perhaps_called() {
    let saga = Saga::of(&[work("A"), work("B")]);
    assert!(!saga.open("A").unresolved);
    let saga = saga.crash();
    assert!(saga.open("A").unresolved);
    let saga = saga.succeed("A");
    assert!(!saga.open("B").unresolved);
    assert!(saga.cancel().crash().open("~B").unresolved);
}

/// The end itself is not an event of the journal but the saga's phase.
#[test]
fn a_journal_that_lacks_the_end_gives_it_again() {
    let mut saga = Saga::of(&[work("A")]).succeed("A").expect_completed();
    let ended = saga.transitions[0].pop();
    assert!(matches!(ended.unwrap().event, saga_core::Event::Ended { .. }));
    saga.crash().expect_running().pass(0).expect_completed();
}
