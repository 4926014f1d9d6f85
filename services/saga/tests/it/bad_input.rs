//! Whatever is asked, the answer is a reason.

use proptest::prelude::*;
use proto::bench::v1::BenchInput;
use proto::saga::v1 as pb;
use proto::saga::v1::start_saga_request::Input;
use tonic::Status;

use crate::participant::{Act, Participant};
use crate::service::{Instance, config, database, reason, request, until, until_end};

fn packed(type_url: &str, value: Vec<u8>) -> Option<Input> {
    Some(Input::Message(prost_types::Any {
        type_url: type_url.to_owned(),
        value,
    }))
}

fn json(text: impl Into<String>) -> Option<Input> {
    Some(Input::Json(text.into()))
}

#[tokio::test]
async fn every_mistake_in_a_start_has_its_reason() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let good = || request("a", None);
    let with = |input| pb::StartSagaRequest { input, ..good() };
    let wait = |wait| pb::StartSagaRequest {
        wait: Some(wait),
        ..good()
    };
    let bench = "type.googleapis.com/evenkeel.bench.v1.BenchInput";
    let huge = format!(r#"{{"payload":"{}"}}"#, "x".repeat(256 * 1024));
    let long = "x".repeat(201);
    let cases = [
        (
            "INVALID_ARGUMENT",
            "type",
            pb::StartSagaRequest {
                r#type: String::new(),
                ..good()
            },
        ),
        (
            "DEFINITION_NOT_FOUND",
            "NOPE",
            pb::StartSagaRequest {
                r#type: "NOPE".to_owned(),
                ..good()
            },
        ),
        (
            "DEFINITION_NOT_FOUND",
            "name",
            pb::StartSagaRequest {
                r#type: "\0".to_owned(),
                ..good()
            },
        ),
        ("INVALID_ARGUMENT", "input", with(None)),
        (
            "SAGA_INPUT_INVALID",
            "BenchInput",
            with(packed("type.googleapis.com/google.protobuf.Duration", vec![])),
        ),
        ("SAGA_INPUT_INVALID", "BenchInput", with(packed("", vec![]))),
        (
            "SAGA_INPUT_INVALID",
            "BenchInput",
            with(packed(bench, vec![0xff; 3])),
        ),
        (
            "PAYLOAD_TOO_LARGE",
            "message",
            with(packed(bench, vec![0; 256 * 1024 + 1])),
        ),
        ("SAGA_INPUT_INVALID", "payloud", with(json(r#"{"payloud":"a"}"#))),
        ("SAGA_INPUT_INVALID", "BenchInput", with(json(r#"{"payload":7}"#))),
        (
            "SAGA_INPUT_INVALID",
            "BenchInput",
            with(json(r#"{"payload":"a"} and more"#)),
        ),
        ("SAGA_INPUT_INVALID", "BenchInput", with(json(""))),
        ("PAYLOAD_TOO_LARGE", "json", with(json(huge))),
        (
            "INVALID_ARGUMENT",
            "business_id",
            pb::StartSagaRequest {
                business_id: "b".to_owned(),
                ..good()
            },
        ),
        ("INVALID_ARGUMENT", "business_id", with(json("{}"))),
        (
            "INVALID_ARGUMENT",
            "business_id",
            with(json(serde_json::json!({ "payload": long }).to_string())),
        ),
        (
            "INVALID_ARGUMENT",
            "business_id",
            with(json("{\"payload\":\"a\\u0000b\"}")),
        ),
        ("INVALID_ARGUMENT", "wait.until", wait(pb::WaitUntil::default())),
        (
            "INVALID_ARGUMENT",
            "wait.until",
            wait(until(pb::wait_until::Until::End(false))),
        ),
        (
            "STEP_UNKNOWN",
            "NOPE",
            wait(until(pb::wait_until::Until::Step("NOPE".to_owned()))),
        ),
        ("INVALID_ARGUMENT", "wait.timeout", wait(timeout(61, 0))),
        ("INVALID_ARGUMENT", "wait.timeout", wait(timeout(60, 1))),
        ("INVALID_ARGUMENT", "wait.timeout", wait(timeout(-1, 0))),
    ];
    for (expected, named, request) in cases {
        let label = format!("{expected} {named} {request:.200?}");
        let status = instance.begin(request).await.expect_err(&label);
        assert_eq!(reason(&status), expected, "{label}: {status:?}");
        assert!(status.message().contains(named), "{label}: {}", status.message());
    }
    let sagas: i64 = sqlx::query_scalar("select count(*) from saga.saga_keys")
        .fetch_one(database.admin())
        .await
        .unwrap();
    assert_eq!(sagas, 0, "nothing was stored");

    let message = BenchInput {
        payload: "fine".to_owned(),
        refuse_step: 0,
    };
    let fine = with(packed(bench, prost::Message::encode_to_vec(&message)));
    assert!(instance.begin(fine).await.unwrap().created);
}

fn timeout(seconds: i64, nanos: i32) -> pb::WaitUntil {
    pb::WaitUntil {
        timeout: Some(prost_types::Duration { seconds, nanos }),
        ..until_end()
    }
}

#[tokio::test]
async fn every_mistake_in_the_other_requests_has_its_reason() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let saga = instance
        .begin(request("a", Some(until_end())))
        .await
        .unwrap()
        .saga
        .unwrap();
    let mut client = instance.client.clone();
    let get = |saga_id: &str, r#type: &str, business_id: &str| pb::GetSagaRequest {
        saga_id: saga_id.to_owned(),
        r#type: r#type.to_owned(),
        business_id: business_id.to_owned(),
        with_history: false,
    };
    let unknown = ids::SagaId::new().to_string();
    let task = ids::TaskId::new().to_string();
    for (expected, request) in [
        ("INVALID_ARGUMENT", get("", "", "")),
        ("INVALID_ARGUMENT", get("", "ORDERS", "")),
        ("INVALID_ARGUMENT", get("", "", "a")),
        ("INVALID_ARGUMENT", get(&saga.saga_id, "ORDERS", "a")),
        ("INVALID_ID", get("nonsense", "", "")),
        ("INVALID_ID", get(&task, "", "")),
        ("SAGA_NOT_FOUND", get(&unknown, "", "")),
        ("SAGA_NOT_FOUND", get("", "ORDERS", "nobody")),
        ("SAGA_NOT_FOUND", get("", "ORDERS", "\0")),
    ] {
        let status = client.get_saga(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{request:?}");
    }
    for (expected, saga_id, wait) in [
        ("INVALID_ID", "x", Some(until_end())),
        ("INVALID_ARGUMENT", saga.saga_id.as_str(), None),
        ("SAGA_NOT_FOUND", unknown.as_str(), Some(until_end())),
        (
            "STEP_UNKNOWN",
            saga.saga_id.as_str(),
            Some(until(pb::wait_until::Until::Step("X".to_owned()))),
        ),
    ] {
        let request = pb::WaitSagaRequest {
            saga_id: saga_id.to_owned(),
            wait,
        };
        let status = client.wait_saga(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{request:?}");
    }
    for (expected, saga_id, why) in [
        ("INVALID_ID", "x", String::new()),
        ("SAGA_NOT_FOUND", unknown.as_str(), String::new()),
        ("INVALID_ARGUMENT", saga.saga_id.as_str(), "x".repeat(501)),
    ] {
        let request = pb::CancelSagaRequest {
            saga_id: saga_id.to_owned(),
            reason: why,
        };
        let status = client.cancel_saga(request).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{saga_id}");
    }
    let list = pb::ListSagasRequest::default;
    for (expected, request) in [
        (
            "INVALID_ARGUMENT",
            pb::ListSagasRequest {
                page_size: 501,
                ..list()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::ListSagasRequest {
                phases: vec![0],
                ..list()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::ListSagasRequest {
                phases: vec![99],
                ..list()
            },
        ),
        (
            "INVALID_PAGE_TOKEN",
            pb::ListSagasRequest {
                page_token: "00".to_owned(),
                ..list()
            },
        ),
    ] {
        let status = client.list_sagas(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{request:?}");
    }
    instance
        .begin(request("one more", Some(until_end())))
        .await
        .unwrap();
    let page = pb::ListSagasRequest {
        page_size: 1,
        r#type: "ORDERS".to_owned(),
        ..list()
    };
    let page_token = client
        .list_sagas(page)
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let status = client
        .list_sagas(pb::ListSagasRequest { page_token, ..list() })
        .await
        .unwrap_err();
    assert_eq!(
        reason(&status),
        "INVALID_PAGE_TOKEN",
        "a token is for its own filters"
    );
    for (expected, name, page_token) in [
        ("INVALID_PAGE_TOKEN", "", "zz"),
        ("INVALID_PAGE_TOKEN", "ORDERS", "abcdef"),
    ] {
        let request = pb::ListDefinitionsRequest {
            name: name.to_owned(),
            page_token: page_token.to_owned(),
            page_size: 0,
        };
        let status = client.list_definitions(request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
    let request = pb::ListDefinitionsRequest {
        name: "\0".to_owned(),
        ..Default::default()
    };
    assert!(
        client
            .list_definitions(request)
            .await
            .unwrap()
            .into_inner()
            .definitions
            .is_empty()
    );
}

/// A request of any kind with any text in it.
#[derive(Debug, Clone)]
enum Anything {
    Json(String),
    Bytes(Vec<u8>),
    Id(String),
    PageToken(String),
    Key(String),
    Definition(String),
    Activate(String, u32),
}

fn anything() -> impl Strategy<Value = Anything> {
    // Every character, NUL included, and text that is almost right.
    let text = || {
        prop_oneof![
            any::<String>(),
            "[\\x00-\\x7f]{0,40}",
            "saga_[0-9a-f]{30,34}",
            "([0-9a-f]{2}){0,40}"
        ]
    };
    let almost_json = prop_oneof![
        text(),
        "\\{\"payload\":\"[a-z\\\\\"\\x00]{0,10}\"(,\"refuse_?[sS]tep\":-?[0-9e.]{1,12})?\\}",
    ];
    prop_oneof![
        almost_json.prop_map(Anything::Json),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Anything::Bytes),
        text().prop_map(Anything::Id),
        text().prop_map(Anything::PageToken),
        text().prop_map(Anything::Key),
        prop_oneof![text(), "saga: [A-Z\\x00]{1,5}\nversion: [0-9-]{1,12}\n"].prop_map(Anything::Definition),
        (text(), any::<u32>()).prop_map(|(name, version)| Anything::Activate(name, version)),
    ]
}

async fn send(instance: &Instance, anything: Anything) -> Result<(), Status> {
    let mut client = instance.client.clone();
    match anything {
        Anything::Json(text) => {
            let request = pb::StartSagaRequest {
                input: json(text),
                ..request("", None)
            };
            client.start_saga(request).await.map(drop)
        }
        Anything::Bytes(bytes) => {
            let input = packed("x/evenkeel.bench.v1.BenchInput", bytes);
            client
                .start_saga(pb::StartSagaRequest {
                    input,
                    ..request("", None)
                })
                .await
                .map(drop)
        }
        Anything::Id(saga_id) => {
            let request = pb::CancelSagaRequest {
                saga_id: saga_id.clone(),
                reason: saga_id,
            };
            client.cancel_saga(request).await.map(drop)
        }
        Anything::PageToken(page_token) => {
            let request = pb::ListDefinitionsRequest {
                page_token: page_token.clone(),
                ..Default::default()
            };
            client.list_definitions(request).await.map(drop)?;
            let request = pb::ListSagasRequest {
                page_token,
                ..Default::default()
            };
            client.list_sagas(request).await.map(drop)
        }
        Anything::Key(key) => {
            let request = pb::ListSagasRequest {
                business_id: key.clone(),
                r#type: key.clone(),
                ..Default::default()
            };
            client.list_sagas(request).await.map(drop)?;
            let request = pb::GetSagaRequest {
                r#type: key.clone(),
                business_id: key,
                ..Default::default()
            };
            client.get_saga(request).await.map(drop)
        }
        Anything::Definition(source) => {
            let request = pb::RegisterDefinitionRequest {
                source,
                source_name: String::new(),
                check_only: false,
            };
            client.register_definition(request).await.map(drop)
        }
        Anything::Activate(name, version) => {
            let request = pb::ActivateDefinitionRequest {
                name,
                version,
                deactivate: true,
            };
            client.activate_definition(request).await.map(drop)
        }
    }
}

#[test]
fn no_request_is_answered_without_a_reason() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (instance, _kept) = runtime.block_on(async {
        let participant = Participant::serve(|_| Act::Work).await;
        let database = database().await;
        (
            Instance::start(config(&database, &participant)),
            (participant, database),
        )
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(600));
    runner
        .run(&anything(), |anything| {
            if let Err(status) = runtime.block_on(send(&instance, anything)) {
                let reason = reason(&status);
                let defect = ["INTERNAL", "UNAVAILABLE", "OVERLOADED"].contains(&reason.as_str());
                prop_assert!(!defect, "{status:?}");
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        let started = instance
            .begin(request("still alive", Some(until_end())))
            .await
            .unwrap();
        assert!(started.waited_for_reached);
    });
}
