//! What is wrong is refused by name, and leaves nothing behind.

use std::process::Command;

use proto::saga::v1::{
    CancelSagaRequest, GetSagaRequest, ListSagasRequest, RegisterDefinitionRequest, SagaPhase,
    StartSagaRequest, start_saga_request,
};
use proto::task::v1::{CreateTaskRequest, GetTaskRequest};
use test_support::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::mending::{register, start};
use e2e::{LONG, Mode, Platform, binary, input, reason};

const BAD: &str = "
saga: BAD
version: 1
input: evenkeel.task.v1.TaskRunInput
deadline: 1m
steps:
  - name: ONE
    call: evenkeel.quota.v1.QuotaSteps/Reserv
    with: { user_id: input.user_id }
    no_compensation: \"none\"
  - name: TWO
    call: evenkeel.quota.v1.QuotaSteps/Reserve
    with: { user_id: input.amount, taks_id: input.task_id }
";

async fn counts(platform: &Platform) -> (i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from saga.instance), (select count(*) from saga.saga_keys),
                (select count(*) from saga.definition)",
    )
    .fetch_one(platform.sql())
    .await
    .unwrap()
}

#[tokio::test]
async fn bad_requests_are_refused_by_name_and_store_nothing() {
    let platform = Platform::start(Mode::Serve).await;
    let before = counts(&platform).await;
    let start = |kind: &str, business_id: &str, json: &str| StartSagaRequest {
        r#type: kind.to_owned(),
        business_id: business_id.to_owned(),
        input: Some(start_saga_request::Input::Json(json.to_owned())),
        wait: None,
    };
    let huge = format!("{{\"featureId\":\"{}\"}}", "x".repeat(300 * 1024));
    let long = "x".repeat(201);
    let cases = [
        (start("NO_SUCH", "k", "{}"), "DEFINITION_NOT_FOUND"),
        (start("TASK_RUN", "k", "{"), "SAGA_INPUT_INVALID"),
        (
            start("TASK_RUN", "k", "{\"noSuchField\": 1}"),
            "SAGA_INPUT_INVALID",
        ),
        (
            start("TASK_RUN", "k", "{\"amount\": \"many\"}"),
            "SAGA_INPUT_INVALID",
        ),
        (start("TASK_RUN", "k", &huge), "PAYLOAD_TOO_LARGE"),
        (start("TASK_RUN", &long, "{}"), "INVALID_ARGUMENT"),
    ];
    for (request, expected) in cases {
        let what = request.business_id.chars().take(8).collect::<String>();
        let status = platform.sagas().start_saga(request).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{what}: {}", status.message());
        assert!(!status.message().is_empty());
    }
    let mut sagas = platform.sagas();
    let wrong_id = GetSagaRequest {
        saga_id: "42".to_owned(),
        ..GetSagaRequest::default()
    };
    assert_eq!(reason(&sagas.get_saga(wrong_id).await.unwrap_err()), "INVALID_ID");
    let absent = GetSagaRequest {
        saga_id: ids::SagaId::new().to_string(),
        ..GetSagaRequest::default()
    };
    assert_eq!(
        reason(&sagas.get_saga(absent).await.unwrap_err()),
        "SAGA_NOT_FOUND"
    );
    let token = ListSagasRequest {
        page_token: "garbage".to_owned(),
        ..ListSagasRequest::default()
    };
    assert_eq!(
        reason(&sagas.list_sagas(token).await.unwrap_err()),
        "INVALID_PAGE_TOKEN"
    );
    let cancel = CancelSagaRequest {
        saga_id: ids::SagaId::new().to_string(),
        reason: String::new(),
    };
    assert_eq!(
        reason(&sagas.cancel_saga(cancel).await.unwrap_err()),
        "SAGA_NOT_FOUND"
    );

    let mut tasks = platform.tasks();
    let create = |user: &str, feature: &str| CreateTaskRequest {
        user_id: user.to_owned(),
        feature_id: feature.to_owned(),
        input_data: Some(input("x")),
        request_id: "r".to_owned(),
    };
    let user = ids::UserId::new().to_string();
    assert_eq!(
        reason(&tasks.create_task(create("me", "summarize")).await.unwrap_err()),
        "INVALID_ID"
    );
    assert_eq!(
        reason(&tasks.create_task(create(&user, "juggle")).await.unwrap_err()),
        "FEATURE_NOT_FOUND"
    );
    let wrong = GetTaskRequest {
        task_id: "1".to_owned(),
    };
    assert_eq!(reason(&tasks.get_task(wrong).await.unwrap_err()), "INVALID_ID");

    let bad = RegisterDefinitionRequest {
        source: BAD.to_owned(),
        source_name: "bad.yaml".to_owned(),
        check_only: false,
    };
    let problems = platform
        .sagas()
        .register_definition(bad)
        .await
        .unwrap()
        .into_inner()
        .problems;
    let reasons: Vec<&str> = problems.iter().map(|p| p.reason.as_str()).collect();
    assert!(reasons.contains(&"UNKNOWN_METHOD"), "{reasons:?}");
    assert!(reasons.contains(&"UNKNOWN_FIELD"), "{reasons:?}");
    assert!(reasons.contains(&"TYPE_MISMATCH"), "{reasons:?}");
    assert!(reasons.contains(&"MISSING_NO_COMPENSATION"), "{reasons:?}");
    assert!(problems.iter().all(|p| p.line > 0));
    assert_eq!(counts(&platform).await, before, "something was stored");
}

#[tokio::test]
async fn saga_check_prints_every_mistake_with_its_place() {
    let file = std::env::temp_dir().join(format!("bad-{}.yaml", std::process::id()));
    std::fs::write(&file, BAD).unwrap();
    let output = Command::new(binary())
        .args(["saga", "check"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for expected in [
        ":8:",
        "ONE",
        "Reserv",
        "TWO",
        "taks_id",
        "expected",
        "no_compensation",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

/// Speaks no protocol at all: answers whatever it gets with bytes.
async fn garbage_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream
                    .write_all(b"\x00\xff\x13HTTP/9.9 whatever\r\n\r\n\x7f\x00")
                    .await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_participant_that_answers_garbage_is_an_unknown_outcome_and_shown() {
    let port = garbage_server().await;
    let mut platform = Platform::start(Mode::Serve).await;
    platform
        .with_participant("evenkeel.bench.v1", format!("http://127.0.0.1:{port}"))
        .await;
    let definition = "
saga: GARBAGE
version: 1
input: evenkeel.bench.v1.BenchInput
deadline: 10m
retry: { retries: 1, initial: 10ms, factor: 2, max: 20ms }
steps:
  - name: ONLY
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    no_compensation: \"it has no state\"
";
    register(&platform, definition, "GARBAGE").await;
    let saga = start(&platform, "GARBAGE", "k").await;
    let ended = eventually(LONG, || async {
        let (saga, _) = platform.saga_of(&saga.saga_id).await;
        (saga.phase() == SagaPhase::Compensated).then_some(saga)
    })
    .await;
    let error = ended.error.unwrap();
    assert_eq!(error.step, "ONLY");
    assert!(!error.code.is_empty() && !error.message.is_empty(), "{error:?}");
    assert!(
        platform.saga.as_mut().unwrap().try_wait().is_none(),
        "the orchestrator still runs"
    );
}
