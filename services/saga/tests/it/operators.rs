//! What operators do, and what comes of it.

use proto::saga::v1 as pb;
use test_support::eventually;
use tonic::{Code, Status};

use crate::operators_support::{allowed, begin_until, by, console, register, rows};
use crate::participant::{Act, DOMAIN, Participant, Seen};
use crate::service::{Instance, SOON, config, database, reason, request, until, until_end, until_step};

fn fails_at(label: &'static str) -> impl Fn(&Seen) -> Act {
    move |seen| match seen.label() == label {
        true => Act::Status(Status::unavailable("down")),
        false => Act::Work,
    }
}

/// Answers "pending" at one operation.
pub(crate) fn pending_at(label: &'static str) -> impl Fn(&Seen) -> Act {
    move |seen| match seen.label() == label {
        true => Act::Pending(60_000),
        false => Act::Work,
    }
}

/// A saga whose step after `after` is pending, at this version.
pub(crate) async fn pending_saga(instance: &Instance, payload: &str, after: &str, version: u32) -> pb::Saga {
    let saga = begin_until(instance, payload, after).await;
    let newer = until(pb::wait_until::Until::NewerThan(version - 1));
    let saga = instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap();
    assert_eq!(saga.state_version, version);
    saga
}

#[tokio::test]
async fn of_two_operators_at_once_one_wins_and_the_other_is_told_what_changed() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    for round in 0..10 {
        let saga = pending_saga(&instance, &format!("r{round}"), "ONE", 2).await;
        let press = |actor: &'static str| {
            let mut console = console(&instance);
            let request = pb::PauseSagaRequest {
                saga_id: saga.saga_id.clone(),
                reason: "the books are being closed".to_owned(),
                expected_version: Some(saga.state_version),
            };
            async move { (actor, console.pause_saga(by(actor, request)).await) }
        };
        let (one, two) = tokio::join!(press("alice"), press("bob"));
        let (winner, loser) = if one.1.is_ok() { (one, two) } else { (two, one) };
        let paused = winner.1.unwrap().into_inner().saga.unwrap();
        assert_eq!(paused.state_version, 3);
        let status = loser.1.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::Aborted, "SAGA_CHANGED")
        );
        let told = format!(
            "is at version 3, not 2; since then: operator pause by {} at 20",
            winner.0
        );
        assert!(status.message().contains(&told), "{}", status.message());
        let facts = rpc::error::info(&status).unwrap().metadata;
        assert_eq!((&*facts["version"], &*facts["expected_version"]), ("3", "2"));
        let events: i64 = sqlx::query_scalar(
            "select count(*) from saga.event where kind = 'operator' and saga_id::text = $1",
        )
        .bind(saga.saga_id.parse::<ids::SagaId>().unwrap().uuid().to_string())
        .fetch_one(database.admin())
        .await
        .unwrap();
        assert_eq!(events, 1);
    }
}

#[tokio::test]
async fn an_operation_that_waits_is_called_at_once() {
    let participant = Participant::serve(fails_at("LAST/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = begin_until(&instance, "a", "PIVOT").await;
    // After enough failures it needs attention, and waits for a minute.
    let waiting = eventually(SOON, async || {
        let saga = instance.get(&saga.saga_id).await.saga.unwrap();
        saga.needs_attention.then_some(saga)
    })
    .await;
    assert!(
        allowed(&waiting).contains(&"RETRY_NOW LAST/action".to_owned()),
        "{:?}",
        allowed(&waiting)
    );
    participant.play(|_| Act::Work);
    let request = pb::RetryNowRequest {
        saga_id: saga.saga_id.clone(),
        reason: "it is up again".to_owned(),
        expected_version: Some(waiting.state_version),
        ..pb::RetryNowRequest::default()
    };
    console(&instance).retry_now(by("alice", request)).await.unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    let history = instance.get(&saga.saga_id).await.history;
    let act = history.iter().find(|event| event.kind == "operator").unwrap();
    assert_eq!(
        (act.actor.as_str(), act.action(), act.note.as_str()),
        ("alice", pb::OperatorAction::RetryNow, "it is up again")
    );
}

#[tokio::test]
async fn a_reply_given_by_hand_serves_the_steps_that_read_it() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance, "a", "ONE", 2).await;
    let request = pb::ResolveStepSucceededRequest {
        saga_id: saga.saga_id.clone(),
        reason: "the provider confirmed it".to_owned(),
        expected_version: Some(2),
        step: "TWO".to_owned(),
        reply_json: r#"{"payload":"from the books"}"#.to_owned(),
        evidence: "mail of the 3rd".to_owned(),
        ..pb::ResolveStepSucceededRequest::default()
    };
    console(&instance)
        .resolve_step_succeeded(by("alice", request))
        .await
        .unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    let last = participant.seen().pop().unwrap();
    assert_eq!(
        (last.label().as_str(), last.work().payload.as_str()),
        ("LAST/action", "from the books")
    );
    let history = instance.get(&saga.saga_id).await.history;
    let act = history.iter().find(|event| event.kind == "operator").unwrap();
    assert_eq!(
        (act.step.as_str(), act.evidence.as_str()),
        ("TWO", "mail of the 3rd")
    );
    let done = history.iter().find(|event| event.seq == act.seq + 1).unwrap();
    assert_eq!((done.kind.as_str(), done.actor.as_str()), ("succeeded", "alice"));
}

#[tokio::test]
async fn an_action_written_off_is_compensated_around() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance, "a", "ONE", 2).await;
    let request = pb::ResolveStepFailedRequest {
        saga_id: saga.saga_id.clone(),
        reason: "it never reached them".to_owned(),
        expected_version: Some(2),
        step: "TWO".to_owned(),
        evidence: "their log".to_owned(),
        ..pb::ResolveStepFailedRequest::default()
    };
    console(&instance)
        .resolve_step_failed(by("alice", request))
        .await
        .unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(
        (ended.phase(), ended.reason()),
        (pb::SagaPhase::Compensated, pb::SagaReason::Operator)
    );
    let undone: Vec<String> = participant
        .labels()
        .into_iter()
        .filter(|label| label.ends_with("compensation"))
        .collect();
    assert_eq!(undone, ["ONE/compensation"]);
}

#[tokio::test]
async fn a_compensation_that_cannot_be_done_is_left_out_with_evidence() {
    let participant = Participant::serve(|seen: &Seen| match seen.label().as_str() {
        "TWO/action" => Act::Status(rpc::error::Reason::QuotaInsufficient.status(DOMAIN, "none left")),
        "ONE/compensation" => Act::Status(Status::unavailable("gone for good")),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let started = instance
        .begin(request("a", Some(until_step("ONE"))))
        .await
        .unwrap()
        .saga
        .unwrap();
    let stuck = eventually(SOON, async || {
        let saga = instance.get(&started.saga_id).await.saga.unwrap();
        saga.needs_attention.then_some(saga)
    })
    .await;
    assert!(
        allowed(&stuck).contains(&"SKIP_STEP ONE/compensation".to_owned()),
        "{:?}",
        allowed(&stuck)
    );
    let request = pb::SkipStepRequest {
        saga_id: stuck.saga_id.clone(),
        reason: "undone by hand".to_owned(),
        expected_version: Some(stuck.state_version),
        step: "ONE".to_owned(),
        evidence: "ticket 7".to_owned(),
        ..pb::SkipStepRequest::default()
    };
    console(&instance).skip_step(by("alice", request)).await.unwrap();
    let ended = instance
        .wait(&stuck.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Compensated);
}

/// The step after the pivot reads the one before it.
const CHAIN: &str = r"
saga: CHAIN
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
retry: { initial: 10ms, max: 50ms }
steps:
  - name: PIVOT
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload }
    pivot: true
  - name: READ
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload }
  - name: USE
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.READ.payload }
  - name: LAST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload }
";

#[tokio::test]
async fn a_step_whose_reply_is_needed_cannot_be_skipped_but_resolved() {
    let participant = Participant::serve(pending_at("READ/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    register(&instance, CHAIN).await;
    let start = pb::StartSagaRequest {
        r#type: "CHAIN".to_owned(),
        ..request("a", Some(until_step("PIVOT")))
    };
    let saga = instance.begin(start).await.unwrap().saga.unwrap();
    let newer = until(pb::wait_until::Until::NewerThan(2));
    let saga = instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap();
    let skip = |step: &str, saga: &pb::Saga| pb::SkipStepRequest {
        saga_id: saga.saga_id.clone(),
        reason: "not needed".to_owned(),
        expected_version: Some(saga.state_version),
        step: step.to_owned(),
        op: "action".to_owned(),
        evidence: "ticket 7".to_owned(),
        ..pb::SkipStepRequest::default()
    };
    let before = rows(&database).await;
    let status = console(&instance)
        .skip_step(by("alice", skip("READ", &saga)))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ACTION_NOT_ALLOWED");
    for word in [
        "USE reads its reply",
        "steps.READ.payload",
        "resolve it as succeeded",
    ] {
        assert!(status.message().contains(word), "{}", status.message());
    }
    assert_eq!(rows(&database).await, before);

    // Nobody reads the reply of USE.
    participant.play(pending_at("USE/action"));
    let resolve = pb::ResolveStepSucceededRequest {
        saga_id: saga.saga_id.clone(),
        reason: "seen".to_owned(),
        expected_version: Some(saga.state_version),
        step: "READ".to_owned(),
        reply_json: r#"{"payload":"x"}"#.to_owned(),
        evidence: "log".to_owned(),
        ..pb::ResolveStepSucceededRequest::default()
    };
    let resolved = console(&instance)
        .resolve_step_succeeded(by("alice", resolve))
        .await
        .unwrap()
        .into_inner();
    let version = resolved.saga.unwrap().state_version;
    let newer = until(pb::wait_until::Until::NewerThan(version));
    let saga = instance.wait(&saga.saga_id, newer).await.unwrap().saga.unwrap();
    console(&instance)
        .skip_step(by("alice", skip("USE", &saga)))
        .await
        .unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    assert_eq!(
        ended.steps[2].action.as_ref().unwrap().state(),
        pb::OperationState::Skipped
    );
}

#[tokio::test]
async fn a_paused_saga_makes_no_calls_until_it_is_resumed() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance, "a", "ONE", 2).await;
    let mut console = console(&instance);
    let pause = pb::PauseSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "wait".to_owned(),
        expected_version: Some(2),
    };
    let paused = console
        .pause_saga(by("alice", pause))
        .await
        .unwrap()
        .into_inner()
        .saga
        .unwrap();
    assert!(paused.paused && allowed(&paused).contains(&"RESUME".to_owned()));
    participant.play(|_| Act::Work);
    let resume = pb::ResumeSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "go".to_owned(),
        expected_version: Some(paused.state_version),
    };
    let calls = participant.seen().len();
    console.resume_saga(by("bob", resume)).await.unwrap();
    assert_eq!(participant.seen().len(), calls);
    let hurry = pb::RetryNowRequest {
        saga_id: saga.saga_id.clone(),
        reason: "go".to_owned(),
        expected_version: Some(paused.state_version + 1),
        ..pb::RetryNowRequest::default()
    };
    console.retry_now(by("bob", hurry)).await.unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
}

#[tokio::test]
async fn a_saga_ended_by_hand_is_resolved_and_calls_nothing_more() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = pending_saga(&instance, "a", "ONE", 2).await;
    let end = pb::ResolveSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "settled outside".to_owned(),
        expected_version: Some(2),
        evidence: "letter of the 3rd".to_owned(),
    };
    let ended = console(&instance)
        .resolve_saga(by("alice", end))
        .await
        .unwrap()
        .into_inner()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Resolved);
    assert!(participant.labels().iter().all(|label| label.ends_with("action")));
}

#[tokio::test]
async fn an_operator_reaches_a_saga_through_any_instance() {
    let participant = Participant::serve(pending_at("TWO/action")).await;
    let database = database().await;
    let owner = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let saga = pending_saga(&owner, "a", "ONE", 2).await;
    let compensate = pb::CompensateSagaRequest {
        saga_id: saga.saga_id.clone(),
        reason: "the customer called".to_owned(),
        expected_version: Some(2),
    };
    let stale = pb::CompensateSagaRequest {
        expected_version: Some(1),
        ..compensate.clone()
    };
    let status = console(&other)
        .compensate_saga(by("alice", stale))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SAGA_CHANGED");
    let turned = console(&other)
        .compensate_saga(by("alice", compensate.clone()))
        .await
        .unwrap();
    assert_eq!(
        turned.into_inner().saga.unwrap().phase(),
        pb::SagaPhase::Compensating
    );
    let ended = other
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.reason(), pb::SagaReason::Operator);
    let history = other.get(&saga.saga_id).await.history;
    assert!(
        history
            .iter()
            .any(|event| event.kind == "operator" && event.actor == "alice")
    );
}
