//! Answers that come by token, later than the call.

use ids::SagaId;
use prost::Message as _;
use proto::bench::v1::WorkResponse;
use proto::saga::v1 as pb;
use proto::saga::v1::complete_step_request::Reply;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use saga::tokens::Tokens;
use saga_core::{Op, OpKey};
use test_support::TestDatabase;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::operators_support::{begin_until, rows};
use crate::participant::{Act, DOMAIN, Participant, Seen};
use crate::service::{Instance, config, database, reason, until, until_end};

const TWO: u16 = 1;
const PIVOT: u16 = 2;

/// Pending for so long that the saga leaves memory.
fn pending_at(label: &'static str) -> impl Fn(&Seen) -> Act {
    move |seen| match seen.label() == label {
        true => Act::Pending(600_000),
        false => Act::Work,
    }
}

fn desk(instance: &Instance) -> CompletionServiceClient<Channel> {
    let url = format!("http://{}", instance.running.local_addr());
    CompletionServiceClient::new(rpc::channel::lazy(&url).unwrap())
}

async fn token(database: &TestDatabase, saga_id: &str, step: u16, op: Op) -> String {
    let tokens = Tokens::open(&database.pool(saga::SCHEMA).await).await.unwrap();
    let saga: SagaId = saga_id.parse().unwrap();
    tokens.make(saga, OpKey { step, index: 0, op })
}

fn success(token: &str, json: &str) -> pb::CompleteStepRequest {
    pb::CompleteStepRequest {
        token: token.to_owned(),
        reply: Some(Reply::Json(json.to_owned())),
    }
}

fn failure(token: &str, reason: &str) -> pb::FailStepRequest {
    pb::FailStepRequest {
        token: token.to_owned(),
        reason: reason.to_owned(),
        message: "none left".to_owned(),
    }
}

/// A saga whose second step is pending, and has been recorded as such.
async fn pending_saga(instance: &Instance) -> pb::Saga {
    let saga = begin_until(instance, "a", "ONE").await;
    let newer = until(pb::wait_until::Until::NewerThan(1));
    instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap()
}

async fn ended(instance: &Instance, saga: &pb::Saga) -> pb::Saga {
    instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>, wanted: &str) -> Status {
    let status = result.unwrap_err();
    assert_eq!(reason(&status), wanted, "{status:?}");
    status
}

#[tokio::test]
async fn a_token_brings_the_answer_earlier_and_serves_once() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    participant.play(pending_at("PIVOT/action"));
    let answer = desk(&instance)
        .complete_step(success(&token, r#"{"payload":"x"}"#))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.saga_id, answer.step.as_str()),
        (saga.saga_id.clone(), "TWO")
    );

    // The pivot is waited for now.
    let newer = until(pb::wait_until::Until::NewerThan(3));
    instance.wait(&saga.saga_id, newer).await.unwrap();
    let before = rows(&database).await;
    refused(
        desk(&instance)
            .complete_step(success(&token, r#"{"payload":"y"}"#))
            .await,
        "STEP_ANSWERED",
    );
    refused(
        desk(&instance).fail_step(failure(&token, "NO")).await,
        "STEP_ANSWERED",
    );
    assert_eq!(rows(&database).await, before);

    let any = prost_types::Any {
        type_url: "type.googleapis.com/evenkeel.bench.v1.WorkResponse".to_owned(),
        value: WorkResponse {
            payload: "p".to_owned(),
        }
        .encode_to_vec(),
    };
    let packed = pb::CompleteStepRequest {
        token: self::token(&database, &saga.saga_id, PIVOT, Op::Action).await,
        reply: Some(Reply::Message(any)),
    };
    desk(&instance).complete_step(packed).await.unwrap();
    let done = ended(&instance, &saga).await;
    assert_eq!(done.phase(), pb::SagaPhase::Completed);
    let last = participant.seen().pop().unwrap();
    assert_eq!(
        (last.label().as_str(), last.work().payload.as_str()),
        ("LAST/action", "x")
    );

    let before = rows(&database).await;
    let status = refused(
        desk(&instance).complete_step(success(&token, "{}")).await,
        "SAGA_ENDED",
    );
    assert!(status.message().contains("COMPLETED"));
    refused(
        desk(&instance).fail_step(failure(&token, "NO")).await,
        "SAGA_ENDED",
    );
    assert_eq!(rows(&database).await, before);
}

#[tokio::test]
async fn a_failure_by_token_is_a_definite_no() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    desk(&instance)
        .fail_step(failure(&token, "NO_DEVICE_FREE"))
        .await
        .unwrap();
    let undone = ended(&instance, &saga).await;
    assert_eq!(
        (undone.phase(), undone.reason()),
        (pb::SagaPhase::Compensated, pb::SagaReason::Refused)
    );
    let error = undone.error.unwrap();
    assert_eq!(
        (
            error.reason.as_str(),
            error.domain.as_str(),
            error.message.as_str()
        ),
        ("NO_DEVICE_FREE", DOMAIN, "none left")
    );
    let undone: Vec<String> = participant
        .labels()
        .into_iter()
        .filter(|l| l.ends_with("compensation"))
        .collect();
    assert_eq!(undone, ["ONE/compensation"]);
}

#[tokio::test]
async fn a_token_tampered_with_or_for_another_step_has_no_effect() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let good = token(&database, &saga.saga_id, TWO, Op::Action).await;
    let before = rows(&database).await;
    let mut desk = desk(&instance);

    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        refused(
            desk.complete_step(success(&bad, "{}")).await,
            "COMPLETION_TOKEN_INVALID",
        );
    }
    for bad in [
        String::new(),
        format!("{good}="),
        good[1..].to_owned(),
        "x".repeat(100_000),
    ] {
        let status = refused(
            desk.complete_step(success(&bad, "{}")).await,
            "COMPLETION_TOKEN_INVALID",
        );
        assert_eq!(status.code(), Code::PermissionDenied);
        refused(
            desk.fail_step(failure(&bad, "NO")).await,
            "COMPLETION_TOKEN_INVALID",
        );
    }
    // Tokens that are ours, for operations that were not called yet.
    for (step, op) in [
        (PIVOT, Op::Action),
        (TWO, Op::Compensation),
        (0, Op::Compensation),
    ] {
        let early = token(&database, &saga.saga_id, step, op).await;
        refused(
            desk.complete_step(success(&early, "{}")).await,
            "STEP_NOT_WAITING",
        );
        refused(desk.fail_step(failure(&early, "NO")).await, "STEP_NOT_WAITING");
    }
    // And for one that has its answer, one that the definition does not have, and a saga that is not there.
    let first = token(&database, &saga.saga_id, 0, Op::Action).await;
    refused(desk.complete_step(success(&first, "{}")).await, "STEP_ANSWERED");
    let nowhere = token(&database, &saga.saga_id, 77, Op::Action).await;
    refused(
        desk.complete_step(success(&nowhere, "{}")).await,
        "COMPLETION_TOKEN_INVALID",
    );
    let nobody = token(&database, &SagaId::new().to_string(), TWO, Op::Action).await;
    refused(desk.complete_step(success(&nobody, "{}")).await, "SAGA_NOT_FOUND");
    assert_eq!(rows(&database).await, before);
}

#[tokio::test]
async fn a_reply_of_another_shape_is_refused_with_the_field_named() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    let before = rows(&database).await;
    let mut desk = desk(&instance);
    for (json, word) in [
        (r#"{"payload":7}"#, "field payload"),
        (r#"{"payloud":"x"}"#, "field payloud"),
        ("[]", "WorkResponse"),
    ] {
        let status = refused(
            desk.complete_step(success(&token, json)).await,
            "INVALID_ARGUMENT",
        );
        assert!(status.message().contains(word), "{}", status.message());
    }
    let packed = |type_url: &str, value| pb::CompleteStepRequest {
        token: token.clone(),
        reply: Some(Reply::Message(prost_types::Any {
            type_url: type_url.to_owned(),
            value,
        })),
    };
    let own = "type.googleapis.com/evenkeel.bench.v1.WorkResponse";
    refused(
        desk.complete_step(packed("x/google.protobuf.Empty", vec![]))
            .await,
        "INVALID_ARGUMENT",
    );
    refused(
        desk.complete_step(packed(own, vec![0xff])).await,
        "INVALID_ARGUMENT",
    );
    refused(
        desk.complete_step(packed(own, vec![0; 256 * 1024 + 1])).await,
        "PAYLOAD_TOO_LARGE",
    );
    let status = refused(
        desk.fail_step(failure(&token, "no device")).await,
        "INVALID_ARGUMENT",
    );
    assert!(status.message().contains("reason"));
    let long = pb::FailStepRequest {
        message: "x".repeat(1_001),
        ..failure(&token, "NO")
    };
    refused(desk.fail_step(long).await, "INVALID_ARGUMENT");
    assert_eq!(rows(&database).await, before);
}

#[tokio::test]
async fn a_success_after_giving_up_is_recorded_once_and_raises_attention() {
    let participant = Participant::serve(|seen: &Seen| match seen.label().as_str() {
        "TWO/action" => Act::Pending(60_000),
        "ONE/compensation" | "TWO/compensation" => Act::Pending(60_000),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    let turned = instance.cancel(&saga.saga_id).await.unwrap();
    assert_eq!(turned.phase(), pb::SagaPhase::Compensating);
    // Two events of the cancel, and the compensation's first "pending".
    let newer = until(pb::wait_until::Until::NewerThan(turned.state_version));
    instance.wait(&saga.saga_id, newer).await.unwrap();

    let before = rows(&database).await;
    refused(
        desk(&instance).fail_step(failure(&token, "NO")).await,
        "STEP_GIVEN_UP",
    );
    assert_eq!(rows(&database).await, before);
    let late = refused(
        desk(&instance)
            .complete_step(success(&token, r#"{"payload":"x"}"#))
            .await,
        "STEP_GIVEN_UP",
    );
    assert!(late.message().contains("is recorded"), "{}", late.message());
    let shown = instance.get(&saga.saga_id).await;
    assert_eq!(shown.history.last().unwrap().kind, "late_success");
    let attention: Vec<(String, String)> = shown
        .saga
        .unwrap()
        .attention
        .into_iter()
        .map(|a| (a.cause, a.step))
        .collect();
    assert_eq!(attention, [("LATE_SUCCESS".to_owned(), "TWO".to_owned())]);

    let before = rows(&database).await;
    refused(
        desk(&instance)
            .complete_step(success(&token, r#"{"payload":"x"}"#))
            .await,
        "STEP_ANSWERED",
    );
    assert_eq!(rows(&database).await, before);
}

#[tokio::test]
async fn any_instance_takes_a_completion_and_passes_it_on_once_only() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let saga = pending_saga(&owner).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    let before = rows(&database).await;
    let mut passed_on = Request::new(success(&token, r#"{"payload":"x"}"#));
    passed_on
        .metadata_mut()
        .insert("evenkeel-forwarded", "1".parse().unwrap());
    refused(desk(&other).complete_step(passed_on).await, "UNAVAILABLE");
    refused(
        desk(&other)
            .complete_step(success(&token, r#"{"payload":7}"#))
            .await,
        "INVALID_ARGUMENT",
    );
    assert_eq!(rows(&database).await, before);

    desk(&other)
        .complete_step(success(&token, r#"{"payload":"x"}"#))
        .await
        .unwrap();
    assert_eq!(ended(&other, &saga).await.phase(), pb::SagaPhase::Completed);
    refused(
        desk(&other)
            .complete_step(success(&token, r#"{"payload":"x"}"#))
            .await,
        "SAGA_ENDED",
    );
}

#[tokio::test]
async fn while_the_owner_cannot_be_reached_a_completion_is_to_be_repeated() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance).await;
    let token = token(&database, &saga.saga_id, TWO, Op::Action).await;
    // An owner that holds its lease, and at whose address nobody listens.
    sqlx::query(
        "insert into saga.replica (epoch, expires_at, heartbeat_at, started_at, leased_since, id, address)
         select nextval('saga.epoch'), now() + interval '1 day', now(), now(), now(), 'ghost', 'http://127.0.0.1:1'",
    )
    .execute(database.admin())
    .await
    .unwrap();
    sqlx::query("update saga.instance set owner = 'ghost'")
        .execute(database.admin())
        .await
        .unwrap();
    let before = rows(&database).await;
    refused(
        desk(&instance)
            .complete_step(success(&token, r#"{"payload":"x"}"#))
            .await,
        "UNAVAILABLE",
    );
    refused(
        desk(&instance).fail_step(failure(&token, "NO")).await,
        "UNAVAILABLE",
    );
    assert_eq!(rows(&database).await, before);
}
