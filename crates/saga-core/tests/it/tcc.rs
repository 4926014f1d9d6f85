//! The shape of try, confirm, cancel: tries side by side, one decision, confirms side by side.

use saga_core::{Cause, OpState, Reason};

use crate::dsl::*;

fn withdrawal() -> Saga {
    Saga::of(&[
        work("FREEZE").after(&[]),
        work("LIMIT").after(&[]),
        pivot("TRANSFER").after(&["FREEZE", "LIMIT"]).probed(),
        onward("FREEZE_CONFIRM").after(&["TRANSFER"]),
        onward("LIMIT_CONFIRM").after(&["TRANSFER"]),
    ])
}

#[test]
fn the_decision_waits_for_all_tries_and_all_confirms_follow_it() {
    withdrawal()
        .expect_due(&["FREEZE", "LIMIT"])
        .succeed("LIMIT")
        .expect_due(&["FREEZE"])
        .succeed("FREEZE")
        .expect_due(&["TRANSFER"])
        .succeed("TRANSFER")
        .expect_due(&["FREEZE_CONFIRM", "LIMIT_CONFIRM"])
        .succeed("LIMIT_CONFIRM")
        .succeed("FREEZE_CONFIRM")
        .expect_completed();
}

#[test]
fn a_refused_decision_cancels_all_tries_side_by_side() {
    withdrawal()
        .succeed("FREEZE")
        .succeed("LIMIT")
        .fail("TRANSFER")
        .refuse_stored("TRANSFER")
        .expect_due(&["~FREEZE", "~LIMIT"])
        .succeed("~LIMIT")
        .succeed("~FREEZE")
        .expect_compensated(Reason::Refused);
}

#[test]
fn a_refused_try_waits_for_its_sibling_and_cancels_it() {
    let refused = withdrawal().in_flight(&["FREEZE", "LIMIT"]).refuse("LIMIT");
    refused
        .clone()
        .succeed("FREEZE")
        .expect_due(&["~FREEZE"])
        .succeed("~FREEZE")
        .expect_compensated(Reason::Refused);
    let saga = refused.pass(TIMEOUT_MS).expect_due(&["~FREEZE"]);
    assert_eq!(*saga.op("FREEZE"), OpState::Abandoned);
}

#[test]
fn a_confirm_cannot_be_refused_and_holds_nobody_back() {
    withdrawal()
        .succeed("FREEZE")
        .succeed("LIMIT")
        .succeed("TRANSFER")
        .refuse_stored("FREEZE_CONFIRM")
        .expect_attention(&[(Cause::CannotBeRefused, 0)])
        .succeed("LIMIT_CONFIRM")
        .expect_running()
        .succeed("FREEZE_CONFIRM")
        .expect_completed();
}

#[test]
fn without_a_decision_the_last_try_is_the_commit_point() {
    let saga = Saga::of(&[
        work("A").after(&[]),
        work("B").after(&[]),
        onward("A_CONFIRM").after(&["A", "B"]),
        onward("B_CONFIRM").after(&["A", "B"]),
    ])
    .succeed("B");
    assert!(!saga.state.committed());
    let saga = saga.succeed("A").expect_due(&["A_CONFIRM", "B_CONFIRM"]);
    assert!(saga.state.committed());
}
