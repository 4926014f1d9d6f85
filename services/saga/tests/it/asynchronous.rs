//! Steps whose answer comes later, steps that may be left out, and steps that are asked about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use proto::saga::v1 as pb;
use proto::saga::v1::complete_step_request::Reply;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use rpc::error::Reason;
use saga::{Config, participants};
use test_support::{Scratch, TestDatabase, eventually};

use crate::operators_support::register;
use crate::participant::{Act, DOMAIN, Participant, Seen};
use crate::service::{Instance, SOON, config, database, request, until_end, until_step};

/// Like ORDERS, with one step that waits for a token.
const LATER: &str = r"
saga: LATER
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
retry: { retries: 3, initial: 10ms, factor: 2, max: 50ms }
steps:
  - name: ONE
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: TWO
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 2 }
    await: token
    pivot: true
  - name: LAST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.TWO.payload, step: 3 }
";

async fn begin(instance: &Instance, saga_type: &str, payload: &str, wait: Option<pb::WaitUntil>) -> pb::Saga {
    let start = pb::StartSagaRequest {
        r#type: saga_type.to_owned(),
        ..request(payload, wait)
    };
    instance.begin(start).await.unwrap().saga.unwrap()
}

#[tokio::test]
async fn only_the_step_that_awaits_a_token_is_given_one_and_always_the_same() {
    let participant = Participant::serve(|seen: &Seen| match seen.label().as_str() {
        "TWO/action" => Act::Pending(20),
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    register(&instance, LATER).await;
    let saga = begin(&instance, "LATER", "a", Some(until_step("ONE"))).await;
    let asked_thrice = async || {
        let seen = participant.seen();
        let two = seen.into_iter().filter(|seen| seen.label() == "TWO/action");
        let tokens: Vec<Option<String>> = two.map(|seen| seen.token).collect();
        (tokens.len() >= 3).then_some(tokens)
    };
    let tokens = eventually(SOON, asked_thrice).await;
    let token = tokens[0].clone().unwrap();
    assert!(
        tokens
            .iter()
            .all(|other| other.as_deref() == Some(token.as_str()))
    );

    let url = format!("http://{}", instance.running.local_addr());
    let mut desk = CompletionServiceClient::new(rpc::channel::lazy(&url).unwrap());
    let done = pb::CompleteStepRequest {
        token,
        reply: Some(Reply::Json(r#"{"payload":"later"}"#.to_owned())),
    };
    desk.complete_step(done).await.unwrap();
    let ended = instance
        .wait(&saga.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    let others = participant
        .seen()
        .into_iter()
        .filter(|seen| seen.label() != "TWO/action");
    let others: Vec<Seen> = others.collect();
    assert!(others.iter().all(|seen| seen.token.is_none()));
    assert_eq!(others.last().unwrap().work().payload, "later");
}

/// The pivot can be asked about: by a call that says 9.
const ASKED: &str = r"
saga: ASKED
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
retry: { initial: 10ms, max: 50ms }
timeout: 200ms
steps:
  - name: PIVOT
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    probe: { call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: input.payload, step: 9 } }
    pivot: true
";

fn steps_called(participant: &Participant) -> Vec<u32> {
    participant.seen().iter().map(|seen| seen.work().step).collect()
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_about_before_anything_is_repeated() {
    // The action took effect, but nobody was told.
    let participant = Participant::serve(|seen| match seen.work().step {
        1 => Act::Hang,
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    register(&instance, ASKED).await;
    let ended = begin(&instance, "ASKED", "a", Some(until_end())).await;
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    assert_eq!(steps_called(&participant), [1, 9]);
}

#[tokio::test]
async fn what_the_participant_has_never_seen_is_called_again() {
    let calls = AtomicU32::new(0);
    let participant = Participant::serve(move |seen| match seen.work().step {
        // Only the first one is lost on its way.
        1 if calls.fetch_add(1, Ordering::Relaxed) == 0 => Act::Hang,
        1 => Act::Work,
        _ => Act::Status(Reason::TaskNotFound.status(DOMAIN, "never seen")),
    })
    .await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    register(&instance, ASKED).await;
    let ended = begin(&instance, "ASKED", "a", Some(until_end())).await;
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);
    assert_eq!(steps_called(&participant), [1, 9, 1]);
}

/// The middle step runs if it is wanted.
const CONDITIONAL: &str = r"
saga: CONDITIONAL
version: 1
input: test.lab.v1.Input
business_id: input.payload
deadline: 1m
steps:
  - name: ONE
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: MAYBE
    when: input.wanted
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 2 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: PIVOT
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 3 }
    pivot: true
  - name: LAST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: { from: steps.MAYBE.payload, allow_default: true }, step: 4 }
";

fn with_lab(scratch: &Scratch, database: &TestDatabase, participant: &Participant) -> Config {
    let source =
        "syntax = \"proto3\"; package test.lab.v1; message Input { string payload = 1; bool wanted = 2; }";
    std::fs::write(scratch.path().join("lab.proto"), source).unwrap();
    let mut compiler = protox::Compiler::new([scratch.path()]).unwrap();
    compiler.include_imports(true).open_file("lab.proto").unwrap();
    let file = scratch.path().join("lab.bin");
    std::fs::write(&file, compiler.encode_file_descriptor_set()).unwrap();
    let lab = participants::Config {
        url: "http://lab.invalid:1".to_owned(),
        error_domain: "lab".to_owned(),
        audience: None,
        descriptors: Some(file),
        limit: None,
    };
    let config = config(database, participant);
    let participants: BTreeMap<_, _> = config
        .participants
        .clone()
        .into_iter()
        .chain([("test.lab.v1".to_owned(), lab)])
        .collect();
    Config {
        participants,
        ..config
    }
}

#[tokio::test]
async fn a_step_whose_condition_does_not_hold_is_left_out_and_never_undone() {
    let participant = Participant::serve(|_| Act::Work).await;
    let (scratch, database) = (Scratch::new().unwrap(), database().await);
    let instance = Instance::start(with_lab(&scratch, &database, &participant));
    register(&instance, CONDITIONAL).await;
    let begin = async |payload: &str, wanted: bool| {
        let json = serde_json::json!({ "payload": payload, "wanted": wanted }).to_string();
        let start = pb::StartSagaRequest {
            r#type: "CONDITIONAL".to_owned(),
            input: Some(pb::start_saga_request::Input::Json(json)),
            wait: Some(until_end()),
            ..pb::StartSagaRequest::default()
        };
        instance.begin(start).await.unwrap().saga.unwrap()
    };
    let with = begin("with", true).await;
    assert_eq!(steps_called(&participant), [1, 2, 3, 4]);
    assert_eq!(
        with.steps[1].action.as_ref().unwrap().state(),
        pb::OperationState::Succeeded
    );

    let without = begin("without", false).await;
    assert_eq!(without.phase(), pb::SagaPhase::Completed);
    assert_eq!(
        without.steps[1].action.as_ref().unwrap().state(),
        pb::OperationState::Skipped
    );
    assert_eq!(steps_called(&participant)[4..], [1, 3, 4]);
    assert_eq!(participant.seen().last().unwrap().work().payload, "");

    // Unwinding, there is nothing to undo of it.
    participant.play(|seen| match seen.label().as_str() {
        "PIVOT/action" => Act::Status(Reason::QuotaInsufficient.status(DOMAIN, "none left")),
        _ => Act::Work,
    });
    assert_eq!(begin("refused", false).await.phase(), pb::SagaPhase::Compensated);
    let undone: Vec<String> = participant
        .labels()
        .into_iter()
        .filter(|label| label.ends_with("compensation"))
        .collect();
    assert_eq!(undone, ["ONE/compensation"]);
}

async fn waiting_for(instance: &Instance, saga_id: &str, kind: pb::WaitKind) -> pb::Wait {
    eventually(SOON, async || {
        let saga = instance.get(saga_id).await.saga.unwrap();
        let wait = saga.steps.into_iter().find_map(|step| step.action?.wait)?;
        (wait.kind() == kind).then_some(wait)
    })
    .await
}

#[tokio::test]
async fn a_saga_says_what_it_waits_for_through_any_instance() {
    let participant = Participant::serve(|seen: &Seen| match seen.label().as_str() {
        "ONE/action" => Act::Hang,
        _ => Act::Work,
    })
    .await;
    let database = database().await;
    let mut narrow = config(&database, &participant);
    narrow.participants.get_mut("evenkeel.bench.v1").unwrap().limit = Some(1);
    let instance = Instance::start(narrow.clone());
    let other = Instance::start(narrow);
    begin(&instance, "ORDERS", "first", None).await;
    eventually(SOON, async || !participant.seen().is_empty()).await;
    let second = begin(&instance, "ORDERS", "second", None).await;
    for instance in [&instance, &other] {
        let wait = waiting_for(instance, &second.saga_id, pb::WaitKind::Concurrency).await;
        assert!(wait.text.contains("evenkeel.bench.v1"), "{}", wait.text);
    }

    let console = &mut crate::operators_support::console(&instance);
    let pause = pb::PauseTypeRequest {
        r#type: "ORDERS".to_owned(),
        reason: "the warehouse burns".to_owned(),
    };
    let pause = || crate::operators_support::by("alice", pause.clone());
    let paused = console.pause_type(pause()).await.unwrap().into_inner();
    assert!(paused.changed && paused.paused.is_some());
    assert!(!console.pause_type(pause()).await.unwrap().into_inner().changed);
    for instance in [&instance, &other] {
        waiting_for(instance, &second.saga_id, pb::WaitKind::Paused).await;
    }
    let third = begin(&instance, "ORDERS", "third", None).await;
    waiting_for(&instance, &third.saga_id, pb::WaitKind::Paused).await;
    assert!(instance.get(&third.saga_id).await.saga.unwrap().paused);
    let listed = console
        .list_paused_types(pb::ListPausedTypesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (listed.paused.len(), listed.paused[0].actor.as_str()),
        (1, "alice")
    );
    let status = console
        .get_status(pb::GetStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.total, status.running, status.success_rate.as_str()),
        (3, 3, "100.00%")
    );
    assert!(status.types[0].paused && status.instances.iter().filter(|instance| instance.alive).count() == 2);
    let bench = status
        .participants
        .iter()
        .find(|one| one.participant == "evenkeel.bench.v1")
        .unwrap();
    assert_eq!((bench.limit, bench.circuit()), (1, pb::CircuitState::Closed));

    participant.play(|_| Act::Work);
    let resume = pb::ResumeTypeRequest {
        r#type: "ORDERS".to_owned(),
        reason: "it is out".to_owned(),
    };
    assert!(
        console
            .resume_type(crate::operators_support::by("bob", resume))
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    let ended = instance
        .wait(&third.saga_id, until_end())
        .await
        .unwrap()
        .saga
        .unwrap();
    assert_eq!(ended.phase(), pb::SagaPhase::Completed);

    let audit = pb::ListAuditRequest {
        page_size: 1,
        r#type: "ORDERS".to_owned(),
        ..pb::ListAuditRequest::default()
    };
    let first = console.list_audit(audit.clone()).await.unwrap().into_inner();
    let next = pb::ListAuditRequest {
        page_token: first.next_page_token,
        ..audit
    };
    let second = console.list_audit(next).await.unwrap().into_inner();
    let shown = |entry: &pb::AuditEntry| (entry.actor.clone(), entry.action());
    assert_eq!(
        shown(&first.entries[0]),
        ("bob".to_owned(), pb::OperatorAction::ResumeType)
    );
    assert_eq!(
        shown(&second.entries[0]),
        ("alice".to_owned(), pb::OperatorAction::PauseType)
    );
    assert!(second.next_page_token.is_empty());
}

#[tokio::test]
async fn an_open_circuit_is_told() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let mut nowhere = config(&database, &participant);
    nowhere.participants.get_mut("evenkeel.bench.v1").unwrap().url = "http://127.0.0.1:1".to_owned();
    let instance = Instance::start(nowhere);
    for n in 0..8 {
        begin(&instance, "ORDERS", &format!("s{n}"), None).await;
    }
    let saga = begin(&instance, "ORDERS", "last", None).await;
    let wait = waiting_for(&instance, &saga.saga_id, pb::WaitKind::CircuitOpen).await;
    assert!(wait.text.contains("evenkeel.bench.v1"), "{}", wait.text);
    let status = crate::operators_support::console(&instance)
        .get_status(pb::GetStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let bench = status
        .participants
        .iter()
        .find(|one| one.participant == "evenkeel.bench.v1")
        .unwrap();
    assert!(
        bench.circuit() != pb::CircuitState::Closed && bench.waiting > 0,
        "{bench:?}"
    );
}
