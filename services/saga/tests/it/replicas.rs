//! Two instances on one database.

use proto::saga::v1 as pb;
use tonic::Request;

use crate::participant::{Act, Participant};
use crate::service::{Instance, config, database, reason, request, until_end, until_step};

fn hangs_at_two(seen: &crate::participant::Seen) -> Act {
    match seen.label().as_str() {
        "TWO/action" => Act::Hang,
        _ => Act::Work,
    }
}

#[tokio::test]
async fn any_instance_waits_for_and_cancels_any_saga() {
    let participant = Participant::serve(hangs_at_two).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let saga = owner
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap();

    let waited = other.wait(&saga.saga_id, until_step("ONE")).await.unwrap();
    assert!(waited.waited_for_reached);
    assert_eq!(waited.saga.unwrap().owner, saga.owner);

    let cancelled = other.cancel(&saga.saga_id).await.unwrap();
    assert_eq!(cancelled.phase(), pb::SagaPhase::Compensating);
    let ended = other.wait(&saga.saga_id, until_end()).await.unwrap();
    assert_eq!(ended.saga.unwrap().phase(), pb::SagaPhase::Compensated);
    let known = other.begin(request("a", Some(until_end()))).await.unwrap();
    assert!(!known.created && known.waited_for_reached);

    // What the owner refuses, the other refuses with the owner's words.
    participant.play(|seen| match seen.label().as_str() {
        "PIVOT/action" => Act::Hang,
        _ => Act::Work,
    });
    let late = owner
        .begin(request("b", Some(until_step("TWO"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    let status = other.cancel(&late.saga_id).await.unwrap_err();
    assert_eq!(reason(&status), "SAGA_PAST_COMMIT_POINT");
}

#[tokio::test]
async fn a_request_is_passed_on_once_only() {
    let participant = Participant::serve(hangs_at_two).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let saga = owner
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    let mut forwarded = Request::new(pb::CancelSagaRequest {
        saga_id: saga.saga_id,
        reason: String::new(),
    });
    forwarded
        .metadata_mut()
        .insert("evenkeel-forwarded", "1".parse().unwrap());
    let status = other.client.clone().cancel_saga(forwarded).await.unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
}

#[tokio::test]
async fn a_dead_instances_sagas_are_taken_over() {
    let participant = Participant::serve(hangs_at_two).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let saga = owner
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    owner.stop().await.unwrap();
    participant.play(|_| Act::Work);
    let other = Instance::start(config(&database, &participant));
    let ended = other
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    assert_ne!(ended.owner, saga.owner);
}
