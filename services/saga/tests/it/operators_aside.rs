//! What operators do about sagas that nobody drives: parked ones, and ones that have ended.

use proto::saga::v1 as pb;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use saga_core::Op;
use test_support::eventually;

use crate::operators::{pending_at, pending_saga};
use crate::operators_support::{allowed, by, console, rows};
use crate::participant::{Act, Participant, Seen};
use crate::service::{Instance, SOON, config, database, reason, until, until_end};

#[tokio::test]
async fn a_parked_saga_is_only_released_and_goes_on_then() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let before = Instance::start(config(&database, &participant));
    let saga = pending_saga(&before, "a", "ONE", 2).await;
    before.stop().await.unwrap();
    sqlx::query(
        r#"update saga.instance set quarantined = true, needs_attention = true,
           attention = '[{"cause": "QUARANTINED", "since": "2026-11-21T00:00:00Z", "note": "deciding panicked"}]'"#,
    )
    .execute(database.admin())
    .await
    .unwrap();
    participant.play(|_| Act::Work);
    let instance = Instance::start(config(&database, &participant));
    // It is taken over, and left alone.
    let parked = eventually(SOON, async || {
        let shown = instance.get(&saga.saga_id).await.saga.unwrap();
        (shown.owner != saga.owner).then_some(shown)
    })
    .await;
    assert!(parked.quarantined);
    assert_eq!(allowed(&parked), ["RELEASE"]);
    let attention: Vec<(&str, &str)> = (parked.attention.iter())
        .map(|a| (a.cause.as_str(), a.detail.as_str()))
        .collect();
    assert_eq!(attention, [("QUARANTINED", "deciding panicked")]);
    let wait = parked.steps[1].action.as_ref().unwrap().wait.as_ref().unwrap();
    assert_eq!(wait.kind(), pb::WaitKind::Quarantined);

    let mut console = console(&instance);
    let stored = rows(&database).await;
    let pause = pb::PauseSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "why".to_owned(),
        expected_version: Some(parked.state_version),
    };
    let status = console.pause_saga(by("alice", pause)).await.unwrap_err();
    assert_eq!(reason(&status), "ACTION_NOT_ALLOWED");
    assert!(
        status.message().contains("allowed now: release"),
        "{}",
        status.message()
    );
    let release = pb::ReleaseSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "mended in 1.2".to_owned(),
        expected_version: Some(parked.state_version),
    };
    let stale = pb::ReleaseSagaRequest {
        expected_version: Some(parked.state_version - 1),
        ..release.clone()
    };
    let status = console.release_saga(by("alice", stale)).await.unwrap_err();
    assert_eq!(reason(&status), "SAGA_CHANGED");
    assert_eq!(rows(&database).await, stored);

    let released = console
        .release_saga(by("alice", release))
        .await
        .unwrap()
        .into_inner();
    assert!(!released.saga.unwrap().quarantined);
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    let history = instance.get(&saga.saga_id).await.history;
    assert!(
        history
            .iter()
            .any(|event| event.action() == pb::OperatorAction::Release && event.actor == "alice")
    );
}

#[tokio::test]
async fn what_came_too_late_is_acknowledged_after_the_end() {
    let participant = Participant::serve(|seen: &Seen| match seen.label().as_str() {
        "TWO/action" | "ONE/compensation" => Act::Pending(60_000),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance, "a", "ONE", 2).await;
    let turned = instance.cancel(&saga.saga_id).await.unwrap();
    let tokens = saga::tokens::Tokens::open(&database.pool(saga::SCHEMA).await)
        .await
        .unwrap();
    let key = |step, op| saga_core::OpKey { step, index: 0, op };
    let id = saga.saga_id.parse().unwrap();
    let url = format!("http://{}", instance.running.local_addr());
    let mut desk = CompletionServiceClient::new(rpc::channel::lazy(&url).unwrap());
    let done = |token| pb::CompleteStepRequest { token, reply: None };
    let status = desk
        .complete_step(done(tokens.make(id, key(1, Op::Action))))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "STEP_GIVEN_UP");
    // TWO is undone at once; ONE waits for its answer.
    let newer = until(pb::wait_until::Until::NewerThan(turned.state_version + 2));
    instance.wait(&saga.saga_id, newer).await.unwrap();
    desk.complete_step(done(tokens.make(id, key(0, Op::Compensation))))
        .await
        .unwrap();
    instance.wait(&saga.saga_id, until_end()).await.unwrap();
    let ended = instance.get(&saga.saga_id).await.saga.unwrap();
    assert_eq!(allowed(&ended), ["ACKNOWLEDGE"]);
    assert!(ended.needs_attention);

    let acknowledge = |version| pb::AcknowledgeAttentionRequest {
        saga_id: saga.saga_id.clone(),
        reason: "undone by hand".to_owned(),
        expected_version: Some(version),
    };
    let mut console = console(&instance);
    let status = console
        .acknowledge_attention(by("bob", acknowledge(ended.state_version - 1)))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SAGA_CHANGED");
    console
        .acknowledge_attention(by("alice", acknowledge(ended.state_version)))
        .await
        .unwrap();
    let noted = instance.get(&saga.saga_id).await.saga.unwrap();
    assert!(!noted.needs_attention && noted.allowed_actions.is_empty());
    let status = console
        .acknowledge_attention(by("bob", acknowledge(ended.state_version)))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SAGA_CHANGED");
    assert!(
        status.message().contains("operator acknowledge by alice"),
        "{}",
        status.message()
    );
}
