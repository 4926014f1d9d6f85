//! Plans with branches.

use saga_core::{Event, FailureClass, Reason};

use crate::dsl::*;

/// A, then B and C side by side, then D.
fn diamond() -> [Step; 4] {
    [
        work("A"),
        work("B").after(&["A"]),
        work("C").after(&["A"]),
        work("D").after(&["B", "C"]),
    ]
}

#[test]
fn branches_run_side_by_side_and_a_join_waits_for_all_of_them() {
    Saga::of(&diamond())
        .expect_due(&["A"])
        .succeed("A")
        .expect_due(&["B", "C"])
        .succeed("C")
        .expect_due(&["B"])
        .succeed("B")
        .expect_due(&["D"])
        .succeed("D")
        .expect_completed();
}

#[test]
fn compensations_run_side_by_side_and_an_ancestor_waits_for_all_below_it() {
    Saga::of(&diamond())
        .succeed("A")
        .succeed("B")
        .succeed("C")
        .refuse("D")
        .expect_due(&["~B", "~C"])
        .succeed("~B")
        .expect_due(&["~C"])
        .succeed("~C")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Refused);
}

#[test]
fn a_refusal_waits_for_the_other_branch_in_flight() {
    Saga::of(&diamond())
        .succeed("A")
        .in_flight(&["B", "C"])
        .refuse("B")
        .expect_unwinding(Reason::Refused)
        .expect_due(&[])
        .succeed("C")
        .expect_due(&["~C"])
        .succeed("~C")
        .expect_due(&["~A"]);
}

#[test]
fn a_branch_is_undone_while_another_is_still_in_flight() {
    Saga::of(&[
        work("A").after(&[]),
        work("B").after(&[]),
        work("C").after(&["A"]),
    ])
    .succeed("A")
    .in_flight(&["B", "C"])
    .refuse("C")
    .expect_due(&["~A"])
    .succeed("~A")
    .expect_unwinding(Reason::Refused)
    .pass(TIMEOUT_MS)
    .expect_due(&["~B"])
    .succeed("~B")
    .expect_compensated(Reason::Refused);
}

#[test]
fn steps_without_compensation_in_the_middle_do_not_let_ancestors_be_undone_early() {
    let steps = [
        work("A"),
        work("B").after(&["A"]).compensated(false),
        work("C").after(&["B"]),
        work("D").after(&["A"]),
    ];
    Saga::of(&steps)
        .succeed("A")
        .succeed("B")
        .succeed("C")
        .refuse("D")
        .expect_due(&["~C"])
        .succeed("~C")
        .expect_due(&["~A"]);
}

#[test]
fn two_branches_that_give_up_unwind_once_and_the_first_is_to_blame() {
    let saga = Saga::of(&[work("A").after(&[]), work("B").after(&[])])
        .in_flight(&["A", "B"])
        .refuse("B")
        .refuse_stored("A")
        .expect_compensated(Reason::Refused);
    assert_eq!(saga.state.failed_step(), Some(1));
    assert_eq!(saga.count(|event| matches!(event, Event::Unwinding { .. })), 1);
}

#[test]
fn a_join_without_a_pivot_commits_only_when_every_branch_has_succeeded() {
    let saga = Saga::of(&[
        work("A").after(&[]),
        work("B").after(&[]),
        onward("R").after(&["A", "B"]),
    ])
    .succeed("A");
    assert!(!saga.state.committed());
    assert!(saga.state.cancellable(&saga.plan));
    let saga = saga.succeed("B").expect_due(&["R"]);
    assert!(saga.state.committed());
}

#[test]
fn a_pivot_after_branches_starts_when_nothing_else_is_open() {
    let saga = Saga::of(&[
        work("A").after(&[]),
        work("B").after(&[]),
        pivot("P").after(&["A", "B"]),
        onward("R").after(&["P"]),
        onward("S").after(&["P"]),
    ]);
    saga.succeed("A")
        .fail_as("B", FailureClass::Unsent)
        .succeed("B")
        .expect_due(&["P"])
        .succeed("P")
        .expect_due(&["R", "S"])
        .succeed("S")
        .succeed("R")
        .expect_completed();
}
