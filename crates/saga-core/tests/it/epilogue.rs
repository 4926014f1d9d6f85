//! The call after the last compensation.

use saga_core::Reason;

use crate::dsl::*;

#[test]
fn the_epilogue_comes_after_the_last_compensation_and_the_saga_ends_with_it() {
    let saga = Saga::with_epilogue(&[work("A"), work("B")], "E")
        .succeed("A")
        .cancel()
        .expect_due(&["~B"])
        .succeed("~B")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_due(&["E"])
        .expect_unwinding(Reason::Cancelled);
    let due = saga.state.due(&saga.plan).next().unwrap();
    assert_eq!((due.timeout_ms, due.refusable), (TIMEOUT_MS, false));
    saga.succeed("E").expect_compensated(Reason::Cancelled);
}

#[test]
fn the_epilogue_is_called_even_if_there_was_nothing_to_undo() {
    Saga::with_epilogue(&[work("A")], "E")
        .refuse("A")
        .expect_unwinding(Reason::Refused)
        .expect_due(&["E"])
        .succeed("E")
        .expect_compensated(Reason::Refused);
}

#[test]
fn the_epilogue_waits_for_calls_in_flight() {
    Saga::with_epilogue(&[work("A").compensated(false)], "E")
        .in_flight(&["A"])
        .cancel()
        .expect_due(&[])
        .pass(TIMEOUT_MS)
        .expect_due(&["E"]);
}

#[test]
fn a_saga_that_completes_has_no_epilogue() {
    Saga::with_epilogue(&[work("A")], "E")
        .succeed("A")
        .expect_completed();
}

#[test]
fn a_pending_epilogue_is_asked_again() {
    Saga::with_epilogue(&[work("A")], "E")
        .refuse("A")
        .pending("E")
        .crash()
        .expect_due(&["E"])
        .succeed("E")
        .expect_compensated(Reason::Refused);
}

#[test]
fn the_epilogue_has_a_name_and_a_position_after_the_last_step() {
    let plan = plan_of(&[work("A"), work("B")], Some("E")).unwrap();
    assert_eq!(plan.epilogue_step(), 2);
    assert_eq!((plan.name(1), plan.name(2)), ("B", "E"));
    assert_eq!(plan_of(&[work("A")], None).unwrap().name(1), "");
}
