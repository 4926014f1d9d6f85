//! Whatever an operator gets wrong, the answer is a reason, and nothing changes.

use proto::saga::v1 as pb;
use tonic::{Code, Request, Status};

use crate::operators_support::{begin_until, by, console, nobody, rows};
use crate::participant::{Act, Participant};
use crate::service::{Instance, config, database, reason};

fn refused(result: Result<tonic::Response<impl std::fmt::Debug>, Status>, wanted: &str, word: &str) {
    let status = result.unwrap_err();
    assert_eq!(reason(&status), wanted, "{status:?}");
    assert!(status.message().contains(word), "{wanted}: {}", status.message());
}

#[tokio::test]
async fn every_mistake_of_an_operator_has_its_reason_and_changes_nothing() {
    let participant = Participant::serve(|seen| match seen.label().as_str() {
        "TWO/action" => Act::Pending(60_000),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = begin_until(&instance, "a", "ONE").await;
    // The first "pending" is recorded.
    let newer = crate::service::until(pb::wait_until::Until::NewerThan(1));
    let saga = instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap();
    let (id, version) = (saga.saga_id.clone(), Some(saga.state_version));
    let mut console = console(&instance);
    let before = rows(&database).await;

    let resolve = || pb::ResolveStepSucceededRequest {
        saga_id: id.clone(),
        reason: "seen in the books".to_owned(),
        expected_version: version,
        step: "TWO".to_owned(),
        reply_json: r#"{"payload":"x"}"#.to_owned(),
        evidence: "page 7".to_owned(),
        ..pb::ResolveStepSucceededRequest::default()
    };
    type Resolve = pb::ResolveStepSucceededRequest;
    let text = str::to_owned;
    let cases = [
        (
            "INVALID_ID",
            "saga_id",
            Resolve {
                saga_id: text("saga_1"),
                ..resolve()
            },
        ),
        (
            "SAGA_NOT_FOUND",
            "saga",
            Resolve {
                saga_id: nobody(),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "reason",
            Resolve {
                reason: String::new(),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "reason",
            Resolve {
                reason: "x".repeat(501),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "evidence",
            Resolve {
                evidence: String::new(),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "expected_version",
            Resolve {
                expected_version: None,
                ..resolve()
            },
        ),
        (
            "SAGA_CHANGED",
            "at version 2, not 1",
            Resolve {
                expected_version: Some(1),
                ..resolve()
            },
        ),
        (
            "SAGA_CHANGED",
            "at version 2, not 9",
            Resolve {
                expected_version: Some(9),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "step",
            Resolve {
                step: String::new(),
                ..resolve()
            },
        ),
        (
            "STEP_UNKNOWN",
            "ONE, TWO",
            Resolve {
                step: text("NOPE"),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "index",
            Resolve {
                index: 1,
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "op",
            Resolve {
                op: text("undo"),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "op",
            Resolve {
                step: text("LAST"),
                op: text("compensation"),
                ..resolve()
            },
        ),
        (
            "ACTION_NOT_ALLOWED",
            "resolve_succeeded ONE/action",
            Resolve {
                step: text("ONE"),
                ..resolve()
            },
        ),
        (
            "ACTION_NOT_ALLOWED",
            "allowed now: ",
            Resolve {
                step: text("LAST"),
                ..resolve()
            },
        ),
        (
            "ACTION_NOT_ALLOWED",
            "TWO/compensation",
            Resolve {
                op: text("compensation"),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "field payload",
            Resolve {
                reply_json: text(r#"{"payload":7}"#),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "field payloud",
            Resolve {
                reply_json: text(r#"{"payloud":""}"#),
                ..resolve()
            },
        ),
        (
            "INVALID_ARGUMENT",
            "reply_json",
            Resolve {
                reply_json: text("{"),
                ..resolve()
            },
        ),
        (
            "PAYLOAD_TOO_LARGE",
            "reply_json",
            Resolve {
                reply_json: " ".repeat(256 * 1024 + 1),
                ..resolve()
            },
        ),
    ];
    for (wanted, word, request) in cases {
        refused(
            console.resolve_step_succeeded(by("alice", request)).await,
            wanted,
            word,
        );
    }
    refused(
        console.resolve_step_succeeded(Request::new(resolve())).await,
        "INVALID_ARGUMENT",
        "evenkeel-actor",
    );

    let whole = (id.clone(), "why".to_owned(), version);
    let (saga_id, reason, expected_version) = whole;
    let skip = pb::SkipStepRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
        step: "TWO".to_owned(),
        op: "action".to_owned(),
        evidence: "none".to_owned(),
        ..pb::SkipStepRequest::default()
    };
    refused(
        console.skip_step(by("alice", skip)).await,
        "ACTION_NOT_ALLOWED",
        "skip TWO/action",
    );
    let failed = pb::ResolveStepFailedRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
        step: "PIVOT".to_owned(),
        evidence: "none".to_owned(),
        ..pb::ResolveStepFailedRequest::default()
    };
    refused(
        console.resolve_step_failed(by("alice", failed)).await,
        "ACTION_NOT_ALLOWED",
        "resolve_failed PIVOT",
    );
    let resume = pb::ResumeSagaRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
    };
    refused(
        console.resume_saga(by("alice", resume)).await,
        "ACTION_NOT_ALLOWED",
        "resume",
    );
    let release = pb::ReleaseSagaRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
    };
    refused(
        console.release_saga(by("alice", release)).await,
        "ACTION_NOT_ALLOWED",
        "release",
    );
    let acknowledge = pb::AcknowledgeAttentionRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
    };
    refused(
        console.acknowledge_attention(by("alice", acknowledge)).await,
        "ACTION_NOT_ALLOWED",
        "acknowledge",
    );
    let end = pb::ResolveSagaRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
        evidence: String::new(),
    };
    refused(
        console.resolve_saga(by("alice", end)).await,
        "INVALID_ARGUMENT",
        "evidence",
    );
    let retry = pb::RetryNowRequest {
        saga_id,
        reason: reason.clone(),
        expected_version,
        op: "action".to_owned(),
        ..pb::RetryNowRequest::default()
    };
    refused(
        console.retry_now(by("alice", retry)).await,
        "INVALID_ARGUMENT",
        "step",
    );

    let pause = |name: &str| pb::PauseTypeRequest {
        r#type: name.to_owned(),
        reason: reason.clone(),
    };
    refused(
        console.pause_type(by("alice", pause(""))).await,
        "INVALID_ARGUMENT",
        "type",
    );
    refused(
        console.pause_type(by("alice", pause("NOPE"))).await,
        "DEFINITION_NOT_FOUND",
        "NOPE",
    );
    refused(
        console.pause_type(Request::new(pause("ORDERS"))).await,
        "INVALID_ARGUMENT",
        "evenkeel-actor",
    );
    let audit = |page_size, page_token: &str, saga_id: &str| pb::ListAuditRequest {
        page_size,
        page_token: page_token.to_owned(),
        saga_id: saga_id.to_owned(),
        ..pb::ListAuditRequest::default()
    };
    refused(
        console.list_audit(audit(501, "", "")).await,
        "INVALID_ARGUMENT",
        "page_size",
    );
    refused(
        console.list_audit(audit(0, "00", "")).await,
        "INVALID_PAGE_TOKEN",
        "page_token",
    );
    refused(
        console.list_audit(audit(0, "", "saga_1")).await,
        "INVALID_ID",
        "saga_id",
    );

    assert_eq!(rows(&database).await, before);
}

#[tokio::test]
async fn a_saga_that_has_ended_is_left_as_it_is() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let done = instance
        .begin(crate::service::request("a", Some(crate::service::until_end())))
        .await
        .unwrap()
        .saga
        .unwrap();
    assert!(
        instance
            .get(&done.saga_id)
            .await
            .saga
            .unwrap()
            .allowed_actions
            .is_empty()
    );
    let before = rows(&database).await;
    let mut console = console(&instance);
    let (saga_id, reason, expected_version) = (done.saga_id, "why".to_owned(), Some(done.state_version));
    let pause = pb::PauseSagaRequest {
        saga_id: saga_id.clone(),
        reason: reason.clone(),
        expected_version,
    };
    let status = console.pause_saga(by("alice", pause.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("COMPLETED"), "{}", status.message());
    refused(Err::<tonic::Response<()>, _>(status), "SAGA_ENDED", "ended");
    let stale = pb::PauseSagaRequest {
        expected_version: Some(0),
        ..pause
    };
    refused(
        console.pause_saga(by("alice", stale)).await,
        "SAGA_CHANGED",
        "ended COMPLETED",
    );
    let acknowledge = pb::AcknowledgeAttentionRequest {
        saga_id,
        reason,
        expected_version,
    };
    refused(
        console.acknowledge_attention(by("alice", acknowledge)).await,
        "ACTION_NOT_ALLOWED",
        "nothing is allowed now",
    );
    assert_eq!(rows(&database).await, before);
}
