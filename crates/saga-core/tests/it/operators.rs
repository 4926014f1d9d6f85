//! What operators do, and what it means.

use saga_core::{
    Cause, Command, Event, FailureClass, OpState, OperatorAction, Payload, Phase, Reason, Rejected,
};

use crate::dsl::*;

fn actors(saga: &Saga) -> Vec<Option<&str>> {
    let last = saga.transitions.last().unwrap();
    last.iter().map(|recorded| recorded.actor.as_deref()).collect()
}

#[track_caller]
fn not_allowed(saga: &Saga, command: Command) {
    let mut after = saga.clone();
    assert_eq!(after.try_operate(command), Err(Rejected::NotAllowed));
    assert_eq!(after.state, saga.state);
    assert_eq!(after.transitions, saga.transitions);
}

#[test]
fn what_an_operator_does_is_recorded_first_with_who_and_why() {
    let saga = Saga::of(&[work("A"), work("B")]).succeed("A").resolve_failed("B");
    assert_eq!(saga.last(), ["operator", "refused", "unwinding"]);
    assert_eq!(actors(&saga), [Some("bob"); 3]);
    let expected = Event::Operator {
        action: OperatorAction::ResolveFailed,
        key: Some(saga.key("B")),
        note: "because".into(),
        evidence: "seen it".into(),
    };
    assert_eq!(saga.transitions.last().unwrap()[0].event, expected);
}

#[test]
fn what_follows_by_itself_is_nobodys_act() {
    let saga = Saga::of(&[work("A")]).resolve_succeeded("A").expect_completed();
    assert_eq!(saga.last(), ["operator", "succeeded", "committed", "ended"]);
    assert_eq!(actors(&saga), [Some("bob"), Some("bob"), None, None]);
}

#[test]
fn a_cancel_is_recorded_as_an_operators_act() {
    let saga = Saga::of(&[work("A")]).cancel();
    let expected = Event::Operator {
        action: OperatorAction::Cancel,
        key: None,
        note: "changed my mind".into(),
        evidence: "".into(),
    };
    assert_eq!(saga.transitions[0][0].event, expected);
    assert_eq!(saga.last(), ["operator", "unwinding"]);
}

#[test]
fn retry_now_takes_the_wait_off_one_operation_or_all() {
    let waiting = Saga::of(&[work("A").after(&[]), work("B").after(&[])])
        .fail_as("A", FailureClass::Misconfigured)
        .fail_as("B", FailureClass::Misconfigured);
    let one = waiting.clone().retry_now("B");
    assert!(one.waits_ms("A") >= ATTENTION_WAIT_MS);
    assert_eq!(one.waits_ms("B"), 0);
    let all = waiting.operate(Command::RetryNow(None));
    assert_eq!((all.waits_ms("A"), all.waits_ms("B")), (0, 0));
    // It keeps its attention until it succeeds, and its number: nothing has been called.
    let all = all.expect_attention(&[(Cause::Misconfigured, 0), (Cause::Misconfigured, 0)]);
    assert_eq!(all.open("A").attempt, 2);
    not_allowed(&all, Command::RetryNow(None));
    assert_eq!(all.crash().waits_ms("A"), 0);
}

#[test]
fn retry_now_needs_something_that_waits() {
    let saga = Saga::of(&[work("A"), work("B")]);
    not_allowed(&saga, Command::RetryNow(None));
    not_allowed(&saga, Command::RetryNow(Some(saga.key("A"))));
    not_allowed(&saga, Command::RetryNow(Some(saga.key("B"))));
    let saga = saga.pending("A").retry_now("A");
    assert_eq!(saga.last(), ["operator"]);
}

/// An action that is only waited for is never called again (rule 3).
#[test]
fn nothing_can_be_done_about_an_action_that_is_waited_out() {
    let saga = Saga::of(&[work("A")]).fail("A").in_flight(&["A"]).cancel();
    let key = saga.key("A");
    for command in [
        Command::RetryNow(Some(key)),
        Command::RetryNow(None),
        Command::ResolveSucceeded(key, Payload::new("1")),
        Command::ResolveFailed(key),
        Command::Skip(key),
    ] {
        not_allowed(&saga, command);
    }
    saga.expect_allowed(&["resolve", "pause"]);
}

#[test]
fn resolve_as_succeeded_is_the_answer_of_an_action() {
    let saga = Saga::of(&[work("A"), pivot("P"), onward("R")])
        .fail("A")
        .resolve_succeeded("A")
        .resolve_succeeded("P");
    assert_eq!(saga.state.reply(0), Some(&Payload::new("\"A by hand\"")));
    assert!(saga.state.committed());
    saga.resolve_succeeded("R").expect_completed();
}

#[test]
fn resolve_as_succeeded_is_the_answer_of_a_compensation_and_of_the_epilogue() {
    Saga::with_epilogue(&[work("A"), work("B")], "E")
        .succeed("A")
        .cancel()
        .refuse("~B")
        .resolve_succeeded("~B")
        .expect_attention(&[])
        .expect_due(&["~A"])
        .succeed("~A")
        .resolve_succeeded("E")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn an_answer_that_comes_after_an_operators_is_stale() {
    let mut saga = Saga::of(&[work("A"), work("B")])
        .in_flight(&["A"])
        .resolve_succeeded("A");
    let refused = saga_core::Outcome::Refused {
        error: error("no"),
        stored: true,
    };
    assert_eq!(saga.try_answer("A", 1, refused), Err(Rejected::Stale));
    saga.expect_due(&["B"]);
}

#[test]
fn resolve_as_failed_unwinds_and_does_not_undo_that_step() {
    let saga = Saga::of(&[work("A"), work("B"), work("C")])
        .succeed("A")
        .fail("B")
        .resolve_failed("B")
        .expect_unwinding(Reason::Operator)
        .expect_due(&["~A"]);
    assert_eq!(saga.state.failed_step(), Some(1));
    let error = saga.state.error().unwrap();
    assert_eq!(
        (&*error.reason, &*error.message),
        ("RESOLVED_AS_FAILED", "because")
    );
    assert_eq!(*saga.op("B"), OpState::Refused(error.clone()));
}

#[test]
fn a_pivot_of_unknown_outcome_can_be_resolved_as_failed() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .fail_times("P", FailureClass::Unknown, 20)
        .resolve_failed("P")
        .expect_due(&["~A"])
        .succeed("~A")
        .expect_compensated(Reason::Operator);
}

#[test]
fn a_sibling_in_flight_is_waited_for_when_an_operator_makes_the_saga_unwind() {
    let siblings = [work("A").after(&[]), work("B").after(&[])];
    let saga = Saga::of(&siblings).in_flight(&["B"]).resolve_failed("A");
    assert!(saga.open("B").drain_until.is_some());
    let saga = Saga::of(&siblings).in_flight(&["B"]).operate(Command::Compensate);
    assert_eq!(*saga.op("A"), OpState::Abandoned);
    assert!(saga.open("B").drain_until.is_some());
}

#[test]
fn what_cannot_be_refused_cannot_be_resolved_as_failed() {
    let saga = Saga::of(&[work("A"), onward("R")]).succeed("A");
    not_allowed(&saga, Command::ResolveFailed(saga.key("R")));
    not_allowed(&saga, Command::ResolveFailed(saga.key("A")));
    let saga = Saga::with_epilogue(&[work("A")], "E").cancel();
    not_allowed(&saga, Command::ResolveFailed(saga.key("~A")));
    let saga = saga.succeed("~A");
    not_allowed(&saga, Command::ResolveFailed(saga.key("E")));
}

#[test]
fn what_can_be_refused_cannot_be_skipped() {
    let saga = Saga::of(&[work("A"), pivot("P"), onward("R")]);
    not_allowed(&saga, Command::Skip(saga.key("A")));
    let saga = saga.succeed("A");
    not_allowed(&saga, Command::Skip(saga.key("P")));
    // Nor what has not been started.
    not_allowed(&saga, Command::Skip(saga.key("R")));
}

#[test]
fn a_skipped_compensation_is_settled() {
    Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .cancel()
        .refuse("~B")
        .skip("~B")
        .expect_attention(&[])
        .expect_due(&["~A"])
        .skip("~A")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn a_skipped_step_after_the_commit_point_is_done() {
    let saga = Saga::of(&[work("A"), onward("R"), onward("S")])
        .succeed("A")
        .refuse("R")
        .skip("R")
        .expect_due(&["S"])
        .skip("S")
        .expect_completed();
    assert_eq!(saga.last(), ["operator", "skipped", "ended"]);
}

#[test]
fn a_skipped_epilogue_lets_the_saga_end() {
    Saga::with_epilogue(&[work("A")], "E")
        .cancel()
        .succeed("~A")
        .refuse("E")
        .skip("E")
        .expect_compensated(Reason::Cancelled);
}

#[test]
fn compensate_unwinds_only_before_the_commit_point() {
    let saga = Saga::of(&[work("A"), work("B"), pivot("P")])
        .succeed("A")
        .operate(Command::Compensate)
        .expect_unwinding(Reason::Operator);
    assert_eq!(saga.last(), ["operator", "unwinding"]);
    assert_eq!(&*saga.state.error().unwrap().message, "because");
    assert_eq!(saga.state.failed_step(), None);
    not_allowed(&saga, Command::Compensate);
    saga.succeed("~B")
        .succeed("~A")
        .expect_compensated(Reason::Operator);
    let at_pivot = Saga::of(&[work("A"), pivot("P")]).succeed("A");
    not_allowed(&at_pivot, Command::Compensate);
    let committed = Saga::of(&[work("A"), onward("R")]).succeed("A");
    not_allowed(&committed, Command::Compensate);
}

#[test]
fn resolve_ends_a_saga_whatever_is_open() {
    let running = Saga::of(&[work("A"), onward("R"), onward("S")])
        .succeed("A")
        .refuse("R");
    let unwinding = Saga::of(&[work("A"), work("B")])
        .succeed("A")
        .in_flight(&["B"])
        .cancel();
    for saga in [
        running,
        unwinding.clone(),
        unwinding.pass(TIMEOUT_MS),
        Saga::of(&[person("H")]),
    ] {
        let mut saga = saga.pause().operate(Command::Resolve);
        assert_eq!(saga.state.phase(), Phase::Resolved);
        assert_eq!(saga.last(), ["operator", "ended"]);
        assert_eq!(actors(&saga), [Some("bob"); 2]);
        assert_eq!(saga.alarm_in(), None);
        assert_eq!(saga.state.paused(), None);
        assert_eq!(saga.try_operate(Command::Resolve), Err(Rejected::Ended));
        saga.expect_due(&[]).expect_attention(&[]).expect_allowed(&[]);
    }
}

#[test]
fn acknowledging_clears_attention_and_changes_nothing_else() {
    let saga = Saga::of(&[pivot("P")])
        .fail_as("P", FailureClass::Misconfigured)
        .pass(DEADLINE_MS)
        .expect_attention(&[(Cause::DeadlinePassed, 0), (Cause::Misconfigured, DEADLINE_MS)]);
    let before = saga.open("P").clone();
    let saga = saga.acknowledge().expect_attention(&[]);
    assert_eq!(saga.open("P").next_at, before.next_at);
    assert_eq!(saga.open("P").attempt, before.attempt);
    not_allowed(&saga, Command::Acknowledge);
    let saga = saga.crash().expect_attention(&[]).pass(DEADLINE_MS);
    // The deadline is missed once; what fails again needs attention again.
    saga.expect_attention(&[])
        .fail_as("P", FailureClass::Misconfigured)
        .expect_attention(&[(Cause::Misconfigured, 0)]);
}

#[test]
fn what_keeps_failing_needs_attention_again_at_its_next_failure() {
    let saga = Saga::of(&[onward("R")])
        .fail_times("R", FailureClass::Unknown, 11)
        .acknowledge()
        .wait(70_000)
        .fail("R")
        .expect_attention(&[(Cause::KeepsFailing, 0)]);
    assert!(saga.waits_ms("R") >= ATTENTION_WAIT_MS);
}

#[test]
fn the_attention_of_a_compensation_can_be_acknowledged() {
    Saga::of(&[work("A")])
        .cancel()
        .refuse("~A")
        .acknowledge()
        .expect_attention(&[])
        .refuse("~A")
        .expect_attention(&[(Cause::CannotBeRefused, 0)]);
}

#[test]
fn there_is_nothing_to_acknowledge_without_attention() {
    not_allowed(&Saga::of(&[work("A")]), Command::Acknowledge);
    let mut saga = Saga::of(&[work("A")]).succeed("A");
    assert_eq!(saga.try_operate(Command::Acknowledge), Err(Rejected::Ended));
}

#[test]
fn the_state_says_what_is_allowed() {
    let whole = ["compensate", "cancel", "resolve", "pause"];
    Saga::of(&[work("A"), pivot("P"), onward("R")])
        .expect_allowed(&[&["resolve_succeeded A", "resolve_failed A"][..], &whole].concat())
        .fail("A")
        .expect_allowed(
            &[
                &[
                    "retry_now A",
                    "resolve_succeeded A",
                    "resolve_failed A",
                    "retry_now",
                ][..],
                &whole,
            ]
            .concat(),
        )
        .succeed("A")
        .expect_allowed(&["resolve_succeeded P", "resolve_failed P", "resolve", "pause"])
        .pause()
        .expect_allowed(&["resolve_succeeded P", "resolve_failed P", "resolve", "resume"])
        .resume()
        .succeed("P")
        .refuse("R")
        .expect_allowed(&[
            "retry_now R",
            "resolve_succeeded R",
            "skip R",
            "retry_now",
            "resolve",
            "pause",
            "acknowledge",
        ])
        .succeed("R")
        .expect_allowed(&[]);
    Saga::of(&[work("A")])
        .cancel()
        .expect_allowed(&["resolve_succeeded ~A", "skip ~A", "resolve", "pause"]);
}

/// Whoever releases a quarantined saga records it; the state machine has nothing to do with it.
#[test]
fn a_release_is_recorded_and_changes_nothing() {
    let mut saga = Saga::of(&[work("A")]).fail("A");
    let before = saga.state.clone();
    let released = Event::Operator {
        action: OperatorAction::Release,
        key: None,
        note: "mended".into(),
        evidence: "".into(),
    };
    let recorded = saga_core::Recorded::new(saga.now, Some("bob".into()), released);
    saga.state.apply(&saga.plan, &recorded);
    assert_eq!(saga.state, before);
}
