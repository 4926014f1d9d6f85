//! Sagas from start to end through the API.

use std::time::Duration;

use proto::saga::v1 as pb;
use rpc::error::Reason;
use test_support::eventually;
use tonic::Code;

use crate::participant::{Act, DOMAIN, Participant};
use crate::service::{Instance, SOON, config, database, reason, request, until, until_end, until_step};

fn refuses(step: &'static str) -> impl Fn(&crate::participant::Seen) -> Act {
    move |seen| {
        if seen.label() == format!("{step}/action") {
            Act::Status(Reason::QuotaInsufficient.status(DOMAIN, "none left"))
        } else {
            Act::Work
        }
    }
}

#[tokio::test]
async fn a_saga_runs_to_its_end_and_shows_what_it_did() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let started = instance.begin(request("a", Some(until_end()))).await.unwrap();
    assert!(started.created && started.waited_for_reached);
    let saga = started.saga.unwrap();
    assert_eq!(saga.phase(), pb::SagaPhase::Completed);
    assert_eq!(saga.business_id, "a");
    assert_eq!(
        participant.labels(),
        ["ONE/action", "TWO/action", "PIVOT/action", "LAST/action"]
    );

    let shown = instance.get(&saga.saga_id).await;
    let saga = shown.saga.unwrap();
    assert!(saga.committed && saga.completed_at.is_some() && saga.current_step.is_empty());
    assert_eq!((saga.definition_version, saga.definition_revision), (1, 1));
    let two = &saga.steps[1];
    let action = two.action.as_ref().unwrap();
    assert_eq!((two.name.as_str(), two.order, action.attempts), ("TWO", 2, 1));
    assert_eq!(action.state(), pb::OperationState::Succeeded);
    assert_eq!(action.request_json, r#"{"payload":"a","step":2}"#);
    assert_eq!(action.reply_json, r#"{"payload":"a"}"#);
    let kinds: Vec<&str> = shown.history.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "started",
            "succeeded",
            "succeeded",
            "succeeded",
            "committed",
            "succeeded"
        ]
    );
    assert_eq!(shown.history[0].actor, "operator");
    assert_eq!(shown.history.last().unwrap().seq + 1, saga.state_version);
    instance.stop().await.unwrap();
}

#[tokio::test]
async fn a_refusal_unwinds_in_reverse_order_and_names_the_step() {
    let participant = Participant::serve(refuses("PIVOT")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = instance
        .begin(request("a", Some(until_end())))
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(saga.phase(), pb::SagaPhase::Compensated);
    assert_eq!(saga.reason(), pb::SagaReason::Refused);
    let error = saga.error.unwrap();
    assert_eq!(
        (error.step.as_str(), error.reason.as_str(), error.domain.as_str()),
        ("PIVOT", "QUOTA_INSUFFICIENT", DOMAIN)
    );
    assert_eq!(
        participant.labels(),
        [
            "ONE/action",
            "TWO/action",
            "PIVOT/action",
            "TWO/compensation",
            "ONE/compensation",
            "ON_COMPENSATED/action"
        ]
    );
    let sagas = instance
        .client
        .clone()
        .list_sagas(pb::ListSagasRequest {
            phases: vec![pb::SagaPhase::Compensated.into()],
            ..pb::ListSagasRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .sagas;
    assert_eq!(sagas.len(), 1);
    assert_eq!(sagas[0].reason(), pb::SagaReason::Refused);
    assert_eq!(sagas[0].error.as_ref().unwrap().step, "PIVOT");
    assert!(sagas[0].compensated_at.is_some() && sagas[0].steps.is_empty());
}

#[tokio::test]
async fn the_same_key_is_the_same_saga_and_another_input_is_refused() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let first = instance.begin(request("a", None)).await.unwrap();
    assert!(first.created && !first.waited_for_reached);
    let id = first.saga.unwrap().saga_id;
    let again = instance.begin(request("a", Some(until_end()))).await.unwrap();
    assert!(!again.created && again.waited_for_reached);
    let again = again.saga.unwrap();
    assert_eq!(
        (again.saga_id.as_str(), again.phase()),
        (id.as_str(), pb::SagaPhase::Completed)
    );
    let step = instance
        .begin(request("a", Some(until_step("TWO"))))
        .await
        .unwrap();
    assert!(!step.created && step.waited_for_reached);

    let other = pb::StartSagaRequest {
        input: Some(pb::start_saga_request::Input::Json(
            r#"{"payload":"a","refuseStep":1}"#.to_owned(),
        )),
        ..request("a", None)
    };
    let status = instance.begin(other).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::AlreadyExists, "SAGA_INPUT_MISMATCH")
    );
    assert!(status.message().contains(&id), "{}", status.message());

    let by_key = pb::GetSagaRequest {
        r#type: "ORDERS".to_owned(),
        business_id: "a".to_owned(),
        ..pb::GetSagaRequest::default()
    };
    let found = instance
        .client
        .clone()
        .get_saga(by_key)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.saga.unwrap().saga_id, id);
    assert_eq!(participant.labels().len(), 4);
}

#[tokio::test]
async fn a_hundred_starts_with_one_key_make_one_saga() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let starts = (0..100).map(|_| instance.begin(request("a", Some(until_end()))));
    let answers = futures::future::join_all(starts).await;
    let mut ids: Vec<String> = Vec::new();
    let mut created = 0;
    for answer in answers {
        let answer = answer.unwrap();
        created += u32::from(answer.created);
        assert!(answer.waited_for_reached);
        ids.push(answer.saga.unwrap().saga_id);
    }
    ids.dedup();
    assert_eq!((created, ids.len()), (1, 1));
    assert_eq!(participant.labels().len(), 4);
}

#[tokio::test]
async fn a_wait_for_a_step_ends_with_the_step() {
    let participant = Participant::serve(|seen| match seen.label().as_str() {
        "TWO/action" => Act::Hang,
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let started = instance
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap();
    assert!(started.waited_for_reached);
    let saga = started.saga.unwrap();
    assert_eq!(
        (saga.phase(), saga.current_step.as_str()),
        (pb::SagaPhase::Running, "TWO")
    );
    assert_eq!(
        saga.steps[0].action.as_ref().unwrap().state(),
        pb::OperationState::Succeeded
    );

    let mut short = until_step("TWO");
    short.timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 50_000_000,
    });
    let waited = instance.wait(&saga.saga_id, short).await.unwrap();
    assert!(!waited.waited_for_reached);
    let version = waited.saga.unwrap().state_version;
    participant.play(|_| Act::Work);
    let newer = pb::wait_until::Until::NewerThan(version);
    let waited = instance.wait(&saga.saga_id, until(newer)).await.unwrap();
    assert!(waited.waited_for_reached && waited.saga.unwrap().state_version > version);
    let waited = instance.wait(&saga.saga_id, until_end()).await.unwrap();
    assert!(waited.waited_for_reached);
}

#[tokio::test]
async fn a_cancel_unwinds_until_the_pivot_may_have_started() {
    let participant = Participant::serve(|seen| match seen.label().as_str() {
        "TWO/action" => Act::Pending(20),
        "PIVOT/action" => Act::Hang,
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = instance
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    let cancelled = instance.cancel(&saga.saga_id).await.unwrap();
    assert_eq!(cancelled.phase(), pb::SagaPhase::Compensating);
    assert_eq!(cancelled.reason(), pb::SagaReason::Cancelled);
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Compensated);
    let again = instance.cancel(&saga.saga_id).await.unwrap();
    assert_eq!(again.phase(), pb::SagaPhase::Compensated);
    let history = instance.get(&saga.saga_id).await.history;
    let unwinding = history.iter().find(|event| event.kind == "unwinding").unwrap();
    assert_eq!(unwinding.error.as_ref().unwrap().message, "changed my mind");
    assert_eq!(unwinding.actor, "operator");

    participant.play(|seen| match seen.label().as_str() {
        "PIVOT/action" => Act::Hang,
        _ => Act::Work,
    });
    let late = instance
        .begin(request("b", Some(until_step("TWO"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    let status = instance.cancel(&late.saga_id).await.unwrap_err();
    assert_eq!(reason(&status), "SAGA_PAST_COMMIT_POINT");
    participant.play(|_| Act::Work);
    instance.wait(&late.saga_id, until_end()).await.unwrap();
    let status = instance.cancel(&late.saga_id).await.unwrap_err();
    assert_eq!(reason(&status), "SAGA_ENDED");
}

#[tokio::test]
async fn a_failing_step_is_retried_and_its_next_attempt_is_shown() {
    let participant = Participant::serve(|seen| match &seen.step {
        Some(step) if step.step == "LAST" && step.attempt < 3 => {
            Act::Status(tonic::Status::unavailable("restarting"))
        }
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = instance
        .begin(request("a", Some(until_end())))
        .await
        .unwrap()
        .saga
        .unwrap();
    let shown = instance.get(&saga.saga_id).await;
    let last = shown.saga.unwrap().steps[3].action.clone().unwrap();
    assert_eq!((last.attempts, last.state()), (3, pb::OperationState::Succeeded));
    assert_eq!(last.last_error.unwrap().code, "UNAVAILABLE");
    let failed: Vec<&pb::SagaEvent> = shown
        .history
        .iter()
        .filter(|event| event.kind == "failed")
        .collect();
    assert_eq!(failed.len(), 2);
    assert!(
        failed
            .iter()
            .all(|event| event.next_retry_at.is_some() && event.step == "LAST")
    );
}

#[tokio::test]
async fn a_locked_door_after_the_commit_point_shows_attention_and_heals() {
    let locked = |seen: &crate::participant::Seen| match seen.label().as_str() {
        "LAST/action" => Act::Status(tonic::Status::unauthenticated("who are you")),
        _ => Act::Work,
    };
    let participant = Participant::serve(locked).await;
    let database = database().await;
    let mut config = config(&database, &participant);
    config.attention_wait = Duration::from_millis(300);
    let instance = Instance::start(config);
    let id = instance
        .begin(request("a", Some(until_step("PIVOT"))))
        .await
        .unwrap()
        .saga
        .unwrap()
        .saga_id;
    let saga = eventually(SOON, || async {
        let saga = instance.get(&id).await.saga?;
        saga.needs_attention.then_some(saga)
    })
    .await;
    assert_eq!(saga.attention[0].cause, "MISCONFIGURED");
    assert_eq!(saga.attention[0].step, "LAST");
    assert_eq!(saga.error.unwrap().code, "UNAUTHENTICATED");
    participant.play(|_| Act::Work);
    let ended = instance.wait(&id, until_end()).await.unwrap().saga.unwrap();
    assert_eq!(
        (ended.phase(), ended.needs_attention),
        (pb::SagaPhase::Completed, false)
    );
}

#[tokio::test]
async fn a_restart_continues_where_the_saga_was() {
    let participant = Participant::serve(|seen| match seen.label().as_str() {
        "TWO/action" => Act::Hang,
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let named = saga::Config {
        instance: Some("only".to_owned()),
        ..config(&database, &participant)
    };
    let first = Instance::start(named.clone());
    let id = first
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap()
        .saga_id;
    // The new process takes the place of the living one, which notices and ends.
    participant.play(|_| Act::Work);
    let second = Instance::start(named);
    let saga = second.wait(&id, until_end()).await.unwrap().saga.unwrap();
    assert_eq!(saga.phase(), pb::SagaPhase::Completed);
    assert!(matches!(first.running.join().await, Err(saga::Error::Fenced)));
    let ones = participant
        .labels()
        .iter()
        .filter(|label| *label == "ONE/action")
        .count();
    assert_eq!(ones, 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn an_ordered_end_answers_those_who_wait() {
    let participant = Participant::serve(|_| Act::Pending(20)).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let id = instance
        .begin(request("a", None))
        .await
        .unwrap()
        .saga
        .unwrap()
        .saga_id;
    let client = instance.client.clone();
    let waiting = tokio::spawn(async move {
        let request = pb::WaitSagaRequest {
            saga_id: id,
            wait: Some(until_end()),
        };
        client.clone().wait_saga(request).await
    });
    eventually(SOON, || async { (participant.seen().len() > 3).then_some(()) }).await;
    instance.stop().await.unwrap();
    if let Ok(answer) = waiting.await.unwrap() {
        assert!(!answer.into_inner().waited_for_reached);
    }
}

#[tokio::test]
async fn a_last_page_that_is_full_promises_no_other() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    for business_id in ["a", "b", "c", "d"] {
        instance
            .begin(request(business_id, Some(until_end())))
            .await
            .unwrap();
    }
    let mut client = instance.client.clone();
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListSagasRequest {
            page_size: 2,
            page_token,
            ..pb::ListSagasRequest::default()
        };
        let page = client.list_sagas(request).await.unwrap().into_inner();
        assert_eq!(page.sagas.len(), 2);
        seen.extend(page.sagas.into_iter().map(|saga| saga.business_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["d", "c", "b", "a"]);
    instance.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_retrying_is_listed_with_what_it_waits_for() {
    let participant = Participant::serve(|seen| match seen.label().as_str() {
        "LAST/action" => Act::Status(tonic::Status::unauthenticated("who are you")),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let troubled = instance
        .begin(request("a", Some(until_step("PIVOT"))))
        .await
        .unwrap()
        .saga
        .unwrap()
        .saga_id;
    let list = async |request: pb::ListSagasRequest| {
        instance
            .client
            .clone()
            .list_sagas(request)
            .await
            .map(|response| response.into_inner().sagas)
    };
    let retrying = || pb::ListSagasRequest {
        retrying: true,
        ..pb::ListSagasRequest::default()
    };
    let saga = eventually(SOON, || async { list(retrying()).await.unwrap().pop() }).await;
    assert_eq!(saga.saga_id, troubled);
    let [step] = &saga.steps[..] else {
        panic!("one step is open: {:?}", saga.steps)
    };
    let action = step.action.as_ref().unwrap();
    assert_eq!((step.name.as_str(), step.order), ("LAST", 4));
    assert_eq!(action.state(), pb::OperationState::Retrying);
    assert_eq!(
        (action.last_error_class.as_str(), action.attempts),
        ("misconfigured", 1)
    );
    assert_eq!(action.last_error.as_ref().unwrap().code, "UNAUTHENTICATED");
    let wait = action.wait.as_ref().unwrap();
    assert_eq!(
        (wait.kind(), wait.until),
        (pb::WaitKind::Backoff, action.next_retry_at)
    );

    let found = async |request| list(request).await.unwrap().len();
    let at_pivot = pb::ListSagasRequest {
        step: "PIVOT".to_owned(),
        ..retrying()
    };
    assert_eq!(found(at_pivot).await, 0);
    let of_class = |class: &str| pb::ListSagasRequest {
        error_class: class.to_owned(),
        ..pb::ListSagasRequest::default()
    };
    assert_eq!(found(of_class("misconfigured")).await, 1);
    assert_eq!(found(of_class("unsent")).await, 0);
    let status = list(of_class("UNKNOWN")).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_ARGUMENT");
    assert!(
        status.message().contains("cannot_be_refused"),
        "{}",
        status.message()
    );
    let older = |seconds| pb::ListSagasRequest {
        older_than: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..pb::ListSagasRequest::default()
    };
    assert_eq!(found(older(0)).await, 1);
    assert_eq!(found(older(3_600)).await, 0);
    assert_eq!(reason(&list(older(-1)).await.unwrap_err()), "INVALID_ARGUMENT");
    instance.stop().await.unwrap();
}
