//! Answers that nobody waits for.

use saga_core::{FailureClass, OpState, Outcome, Payload, Rejected};

use crate::dsl::*;

fn outcomes() -> [Outcome; 4] {
    [
        Outcome::Succeeded(Payload::new("1")),
        Outcome::Refused {
            error: error("no"),
            stored: true,
        },
        Outcome::Pending,
        Outcome::Failed {
            class: FailureClass::Unknown,
            error: error("?"),
        },
    ]
}

#[track_caller]
fn changes_nothing(saga: &Saga, name: &str, attempt: u32, why: Rejected) {
    for outcome in outcomes() {
        let late = matches!(outcome, Outcome::Succeeded(_)) && *saga.op(name) == OpState::Abandoned;
        if late {
            continue;
        }
        let mut after = saga.clone();
        assert_eq!(after.try_answer(name, attempt, outcome), Err(why));
        assert_eq!(after.state, saga.state);
        assert_eq!(after.transitions, saga.transitions);
    }
}

#[test]
fn an_answer_of_another_attempt_changes_nothing() {
    let saga = Saga::of(&[work("A")]).fail("A");
    changes_nothing(&saga, "A", 1, Rejected::Stale);
    changes_nothing(&saga, "A", 3, Rejected::Stale);
}

#[test]
fn an_answer_of_an_operation_that_is_not_open_changes_nothing() {
    let saga = Saga::of(&[work("A"), work("B")]);
    changes_nothing(&saga, "B", 1, Rejected::Stale);
    changes_nothing(&saga, "~A", 1, Rejected::Stale);
    changes_nothing(&saga.succeed("A"), "A", 1, Rejected::Stale);
}

#[test]
fn an_answer_other_than_success_that_comes_after_giving_up_changes_nothing() {
    let saga = Saga::of(&[work("A"), work("B")])
        .in_flight(&["A"])
        .cancel()
        .pass(TIMEOUT_MS);
    changes_nothing(&saga, "A", 1, Rejected::Stale);
}

#[test]
fn a_second_answer_changes_nothing() {
    let saga = Saga::of(&[work("A"), work("B")]).succeed("A").refuse("B");
    changes_nothing(&saga, "B", 1, Rejected::Stale);
    changes_nothing(&saga.fail("~A"), "~A", 1, Rejected::Stale);
}

#[test]
fn an_answer_of_a_step_that_does_not_exist_changes_nothing() {
    let mut saga = Saga::of(&[work("A")]);
    let before = saga.state.clone();
    for (step, index) in [(7, 0), (0, 7)] {
        let key = saga_core::OpKey {
            step,
            index,
            ..saga.key("A")
        };
        let outcome = Outcome::Succeeded(Payload::new("1"));
        let input = saga_core::Input::Replied {
            key,
            attempt: 1,
            outcome,
        };
        assert_eq!(saga.try_handle(input), Err(Rejected::Stale));
    }
    assert_eq!(saga.state, before);
}

#[test]
fn nothing_changes_a_saga_that_has_ended() {
    let mut saga = Saga::of(&[work("A")]).succeed("A").expect_completed();
    changes_nothing(&saga, "A", 1, Rejected::Ended);
    assert_eq!(saga.try_cancel(), Err(Rejected::Ended));
    assert_eq!(saga.try_handle(saga_core::Input::Tick), Err(Rejected::Ended));
}
