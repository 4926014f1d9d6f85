//! Hints that a pending step may have an answer.

use ids::SagaId;
use proto::saga::v1 as pb;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use test_support::identities;
use token::Channel;
use tonic::{Request, Status};

use crate::operators_support::{begin_until, rows};
use crate::participant::{Act, Participant, Seen};
use crate::service::{Instance, config, database, reason, until, until_end};

/// A wait in memory, and one for which a saga leaves it; both are longer than `until_end` waits.
const WAITS_MS: [u64; 2] = [60_000, 600_000];

fn pending_at_two_for(ms: u64) -> impl Fn(&Seen) -> Act {
    move |seen| match seen.label() == "TWO/action" {
        true => Act::Pending(ms),
        false => Act::Work,
    }
}

/// A saga whose second step is pending, and has been recorded as such.
async fn pending_saga(instance: &Instance, key: &str) -> pb::Saga {
    let saga = begin_until(instance, key, "ONE").await;
    let newer = until(pb::wait_until::Until::NewerThan(1));
    instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap()
}

fn desk(instance: &Instance) -> CompletionServiceClient<Channel> {
    let url = format!("http://{}", instance.running.local_addr());
    CompletionServiceClient::new(identities().channel(&url, "billing", "saga"))
}

async fn hint(instance: &Instance, saga_id: &str) -> Result<(), Status> {
    let request = pb::AskAgainRequest {
        saga_id: saga_id.to_owned(),
    };
    desk(instance).ask_again(request).await.map(drop)
}

#[tokio::test]
async fn any_instance_takes_a_hint_and_the_step_is_asked_at_once() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    for (ms, (name, instance)) in WAITS_MS
        .into_iter()
        .flat_map(|ms| [(ms, ("owner", &owner)), (ms, ("other", &other))])
    {
        participant.play(pending_at_two_for(ms));
        let saga = pending_saga(&owner, &format!("{name} {ms}")).await;
        participant.play(|_| Act::Work);
        hint(instance, &saga.saga_id).await.unwrap();
        let ended = instance.wait(&saga.saga_id, until_end()).await.unwrap();
        assert_eq!(ended.saga.unwrap().phase(), pb::SagaPhase::Completed);
        // Which is nothing to ask, and no error.
        let before = rows(&database).await;
        hint(instance, &saga.saga_id).await.unwrap();
        assert_eq!(rows(&database).await, before);
    }
}

#[tokio::test]
async fn a_hint_about_no_saga_is_refused_and_one_is_passed_on_once_only() {
    let participant = Participant::serve(pending_at_two_for(WAITS_MS[0])).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let saga = pending_saga(&owner, "a").await;
    for (saga_id, wanted) in [
        ("", "INVALID_ID"),
        ("x", "INVALID_ID"),
        (SagaId::new().to_string().as_str(), "SAGA_NOT_FOUND"),
    ] {
        let status = hint(&owner, saga_id).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{saga_id:?}");
    }
    let mut passed_on = Request::new(pb::AskAgainRequest {
        saga_id: saga.saga_id,
    });
    passed_on
        .metadata_mut()
        .insert("evenkeel-forwarded", "1".parse().unwrap());
    let status = desk(&other).ask_again(passed_on).await.unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
}
