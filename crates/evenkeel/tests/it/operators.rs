//! What operators do, against a saga service that answers as told: what is sent, what is printed, how it ends.

use proto::saga::v1::{
    AllowedAction, GetStatusResponse, Operation, OperationState, OperatorAction, Saga, SagaError, SagaPhase,
    SagaStep, Wait, WaitKind,
};
use rpc::error::Reason;
use serde_json::Value;

use crate::fake::Fake;
use crate::{code, run, stderr, stdout};

const ID: &str = "saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b";

/// A saga that unwinds; the compensation of its first step is tried again.
fn stuck() -> Saga {
    let allow = |action: OperatorAction, step: &str, op: &str| AllowedAction {
        action: action.into(),
        step: step.to_owned(),
        index: 0,
        op: op.to_owned(),
    };
    let retrying = Operation {
        state: OperationState::Retrying.into(),
        attempts: 5,
        last_error: Some(SagaError {
            code: "UNAVAILABLE".to_owned(),
            message: "connection refused".to_owned(),
            ..SagaError::default()
        }),
        last_error_class: "unknown".to_owned(),
        wait: Some(Wait {
            kind: WaitKind::Backoff.into(),
            ..Wait::default()
        }),
        ..Operation::default()
    };
    let mut saga = Saga {
        saga_id: ID.to_owned(),
        r#type: "TASK_RUN".to_owned(),
        business_id: "task_7".to_owned(),
        state_version: 12,
        steps: vec![
            SagaStep {
                name: "RESERVE_QUOTA".to_owned(),
                order: 1,
                compensation: Some(retrying),
                ..SagaStep::default()
            },
            SagaStep {
                name: "RUN_PIPELINE".to_owned(),
                order: 2,
                ..SagaStep::default()
            },
        ],
        allowed_actions: vec![
            allow(OperatorAction::RetryNow, "RESERVE_QUOTA", "compensation"),
            allow(
                OperatorAction::ResolveStepSucceeded,
                "RESERVE_QUOTA",
                "compensation",
            ),
            allow(OperatorAction::SkipStep, "RESERVE_QUOTA", "compensation"),
            allow(OperatorAction::Pause, "", ""),
        ],
        ..Saga::default()
    };
    saga.set_phase(SagaPhase::Compensating);
    saga
}

fn has(text: &str, all: &[&str]) {
    for wanted in all {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
}

#[tokio::test]
async fn a_write_shows_what_it_acts_on_and_uses_that_version() {
    let fake = Fake::start(stuck());
    let output = fake
        .run(&["saga", "retry", ID, "RESERVE_QUOTA", "--reason", "mended"])
        .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    has(
        &stderr(&output),
        &[
            ID,
            "COMPENSATING, version 12",
            "RESERVE_QUOTA compensation: try 5, waits for its next try; unknown: UNAVAILABLE: connection refused",
        ],
    );
    has(&stdout(&output), &[ID, "COMPENSATING", "its next try"]);
    let seen = fake.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    has(&seen[0], &["GetSagaRequest"]);
    // The one operation of the step that may be retried is meant.
    has(
        &seen[1],
        &[
            "ann: RetryNowRequest",
            "reason: \"mended\"",
            "expected_version: Some(12)",
            "step: \"RESERVE_QUOTA\"",
            "op: \"compensation\"",
        ],
    );
}

#[tokio::test]
async fn with_a_version_nothing_is_read_first() {
    let fake = Fake::start(stuck());
    let output = fake
        .run(&[
            "saga", "pause", ID, "--reason", "look", "--expect", "7", "-o", "json",
        ])
        .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(shown["saga"]["stateVersion"], 13);
    let seen = fake.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    has(&seen[0], &["PauseSagaRequest", "expected_version: Some(7)"]);

    let skip = [
        "saga",
        "skip",
        ID,
        "RESERVE_QUOTA",
        "--op",
        "compensation",
        "--reason",
        "r",
        "--evidence",
        "e",
        "--expect",
        "7",
    ];
    assert_eq!(code(&fake.run(&skip).await), 0);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn every_action_sends_its_reason_and_its_evidence() {
    let fake = Fake::start(stuck());
    let whole = [
        ("compensate", "CompensateSagaRequest"),
        ("pause", "PauseSagaRequest"),
        ("resume", "ResumeSagaRequest"),
        ("release", "ReleaseSagaRequest"),
        ("acknowledge", "AcknowledgeAttentionRequest"),
        ("retry", "RetryNowRequest"),
    ];
    for (verb, request) in whole {
        let output = fake.run(&["saga", verb, ID, "--reason", "because"]).await;
        assert_eq!(code(&output), 0, "{verb}: {}", stderr(&output));
        let seen = fake.seen();
        has(
            &seen[1],
            &[request, "reason: \"because\"", "expected_version: Some("],
        );
        let without = run(&["saga", verb, ID]);
        assert_eq!(code(&without), 2, "{verb}");
        has(&stderr(&without), &["--reason"]);
    }
    let with_evidence: [(&[&str], &[&str]); 4] = [
        (&["resolve", ID], &["ResolveSagaRequest"]),
        (
            &["skip", ID, "RESERVE_QUOTA"],
            &["SkipStepRequest", "op: \"compensation\""],
        ),
        (
            &["resolve-step", ID, "RESERVE_QUOTA", "--succeeded", "{\"n\": 1}"],
            &[
                "ResolveStepSucceededRequest",
                "reply_json: \"{\\\"n\\\": 1}\"",
                "op: \"compensation\"",
            ],
        ),
        (
            &["resolve-step", ID, "RUN_PIPELINE", "--failed"],
            &["ResolveStepFailedRequest", "step: \"RUN_PIPELINE\""],
        ),
    ];
    for (args, wanted) in with_evidence {
        let mut all = vec!["saga"];
        all.extend(args);
        all.extend(["--reason", "because"]);
        assert_eq!(code(&run(&all)), 2, "{all:?} needs evidence");
        all.extend(["--evidence", "ticket 4711"]);
        let output = fake.run(&all).await;
        assert_eq!(code(&output), 0, "{all:?}: {}", stderr(&output));
        let seen = fake.seen();
        has(&seen[1], wanted);
        has(&seen[1], &["reason: \"because\"", "evidence: \"ticket 4711\""]);
    }
}

#[tokio::test]
async fn whoever_comes_second_is_told_and_exits_with_75() {
    let fake = Fake::start(stuck());
    fake.refuse(
        Reason::SagaChanged,
        "version 12 was expected and it is 13: bob skipped RESERVE_QUOTA",
    );
    let output = fake.run(&["saga", "resume", ID, "--reason", "r"]).await;
    assert_eq!(code(&output), 75);
    has(
        &stderr(&output),
        &["SAGA_CHANGED", "bob skipped RESERVE_QUOTA", "evenkeel saga why"],
    );
    assert_eq!(stdout(&output), "");

    fake.refuse(Reason::ActionNotAllowed, "allowed are: retry_now, skip");
    let output = fake.run(&["saga", "release", ID, "--reason", "r"]).await;
    assert_eq!(code(&output), 1);
    has(&stderr(&output), &["ACTION_NOT_ALLOWED", "retry_now, skip"]);
}

#[tokio::test]
async fn mistakes_are_found_before_anything_is_sent() {
    let fake = Fake::start(stuck());
    let evidence = ["--reason", "r", "--evidence", "e"];
    let cases: [(&[&str], &str); 6] = [
        (
            &["resolve-step", ID, "RESERVE_QUOTA", "--succeeded", "{"],
            "not JSON",
        ),
        (&["resolve-step", ID, "RESERVE_QUOTA"], "--succeeded"),
        (
            &[
                "resolve-step",
                ID,
                "RESERVE_QUOTA",
                "--failed",
                "--succeeded",
                "{}",
            ],
            "cannot be used with",
        ),
        (
            &[
                "resolve-step",
                ID,
                "RESERVE_QUOTA",
                "--failed",
                "--op",
                "compensation",
            ],
            "cannot be resolved as failed",
        ),
        (
            &["skip", ID, "RESERVE_QOTA"],
            "no step RESERVE_QOTA; it has: RESERVE_QUOTA RUN_PIPELINE",
        ),
        (&["skip", "saga_x", "RESERVE_QUOTA"], "SAGA_NOT_FOUND"),
    ];
    for (args, word) in cases {
        let mut all = vec!["saga"];
        all.extend(args);
        all.extend(evidence);
        let output = fake.run(&all).await;
        let expected = if word == "SAGA_NOT_FOUND" { 1 } else { 2 };
        assert_eq!(code(&output), expected, "{all:?}: {}", stderr(&output));
        has(&stderr(&output), &[word]);
    }
    let output = fake
        .run(&["saga", "retry", ID, "--op", "action", "--reason", "r"])
        .await;
    assert_eq!(code(&output), 2);
    let seen = fake.seen();
    assert!(seen.iter().all(|request| request.contains("GetSaga")), "{seen:?}");
}

#[tokio::test]
async fn why_says_what_is_retrying_and_what_one_may_do() {
    let fake = Fake::start(stuck());
    let output = fake.run(&["saga", "why", ID]).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    has(
        &stdout(&output),
        &[
            "RESERVE_QUOTA  compensation  5",
            "its next try",
            "unknown: UNAVAILABLE: connection refused",
            &format!("evenkeel saga skip {ID} RESERVE_QUOTA --op compensation --evidence TEXT --reason TEXT"),
        ],
    );
    let output = fake.run(&["saga", "why", ID, "-o", "jsonl"]).await;
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1);
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(shown["open"][0]["operation"]["wait"]["kind"], "BACKOFF");
    let output = fake.run(&["saga", "show", ID]).await;
    has(
        &stdout(&output),
        &["version      12", "retry RESERVE_QUOTA", "waits for its next try"],
    );
}

#[tokio::test]
async fn a_list_sends_its_filters_and_is_one_document_in_json() {
    let fake = Fake::start(stuck());
    let output = fake
        .run(&[
            "saga",
            "list",
            "--type",
            "TASK_RUN",
            "--phase",
            "compensating",
            "--step",
            "RESERVE_QUOTA",
            "--business-id",
            "task_7",
            "--error-class",
            "unknown",
            "--min-attempts",
            "5",
            "--retrying",
            "--older-than",
            "1h 30m",
            "--attention",
        ])
        .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    has(&stdout(&output), &["RESERVE_QUOTA try 5: UNAVAILABLE"]);
    has(
        &fake.seen()[0],
        &[
            "type: \"TASK_RUN\"",
            "business_id: \"task_7\"",
            "needs_attention: true",
            "step: \"RESERVE_QUOTA\"",
            "error_class: \"unknown\"",
            "min_attempts: 5",
            "retrying: true",
            "older_than: Some(Duration { seconds: 5400, nanos: 0 })",
        ],
    );
    assert_eq!(code(&run(&["saga", "list", "--error-class", "unknwon"])), 2);

    for (verb, field) in [("list", "sagas"), ("audit", "entries")] {
        let output = fake.run(&["saga", verb, "--all", "-o", "json"]).await;
        let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(shown[field].as_array().map(Vec::len), Some(2), "{verb}");
        let output = fake.run(&["saga", verb, "--all", "-o", "jsonl"]).await;
        assert_eq!(stdout(&output).lines().count(), 2, "{verb}");
        let output = fake.run(&["saga", verb]).await;
        has(&stderr(&output), &["--page-token more"]);
    }
}

#[tokio::test]
async fn types_are_paused_resumed_and_listed() {
    let fake = Fake::start(stuck());
    let output = fake
        .run(&["saga", "pause-type", "TASK_RUN", "--reason", "ticket 4711"])
        .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    has(&stdout(&output), &["TASK_RUN", "ann", "ticket 4711"]);
    let output = fake
        .run(&["saga", "resume-type", "TASK_RUN", "--reason", "mended"])
        .await;
    assert_eq!(code(&output), 0);
    has(&stderr(&output), &["it was not paused"]);
    let output = fake.run(&["saga", "paused", "-o", "jsonl"]).await;
    assert_eq!(stdout(&output).lines().count(), 2);
    has(
        &stdout(&fake.run(&["saga", "paused"]).await),
        &["WITHDRAWAL", "bob"],
    );
}

#[tokio::test]
async fn the_status_has_its_zeros_in_json() {
    let fake = Fake::start(stuck());
    fake.set_status(GetStatusResponse {
        total: 200,
        running: 0,
        failed: 1,
        success_rate: "99.50%".to_owned(),
        ..GetStatusResponse::default()
    });
    let output = fake.run(&["saga", "status", "-o", "json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(
        (&shown["total"], &shown["running"], &shown["successRate"]),
        (&Value::from(200), &Value::from(0), &Value::from("99.50%"))
    );
    has(
        &stdout(&fake.run(&["saga", "status"]).await),
        &["200 sagas, 0 running, 1 failed, 99.50% successful"],
    );
}

#[test]
fn shells_are_told_how_to_complete() {
    for (shell, word) in [
        ("bash", "_evenkeel()"),
        ("zsh", "#compdef evenkeel"),
        ("fish", "complete -c evenkeel"),
    ] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let script = stdout(&output);
        has(&script, &[word, "resolve-step", "error-class"]);
    }
    assert_eq!(code(&run(&["completions", "tcsh"])), 2);
}
