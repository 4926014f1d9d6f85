//! One trace from the HTTP request to the database, seen by a collector.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use e2e::{LONG, Platform};
use serde_json::{Value, json};
use telemetry::collector::{Collector, Span};
use test_support::{TestBroker, TestDatabase, eventually, identities};
use token::Role;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn one_trace_goes_from_http_over_grpc_and_rabbitmq_to_the_database() {
    let collector = Collector::start().await.expect("a port");
    let host = TestBroker::create().await;
    let environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()),
        ("AMQP_URL".to_owned(), host.url()),
    ];
    let database = TestDatabase::create(&[(::events::SCHEMA, &::events::MIGRATOR)]).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let stop = crate::events::listen(&database, &host.url(), &heard).await;
    let mut platform = Platform::start_on(database, environment).await;
    platform.open_front_door().await;
    let user = platform.user(10).await;

    let answer: Value = reqwest::Client::new()
        .post(format!("{}/api/v1/tasks", platform.gateway_url()))
        .header("authorization", identities().bearer(user, Role::User))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&json!({ "featureId": "translate", "inputData": { "text": "trace me", "language": "zh" } }))
        .send()
        .await
        .expect("the gateway answers")
        .json()
        .await
        .expect("JSON");
    let task_id = answer["taskId"].as_str().expect("a task").to_owned();
    platform.ended(&task_id).await;

    let wanted = [
        ("gateway", "POST /api/v1/tasks", ""),
        ("task", "request", "/evenkeel.task.v1.TaskService/CreateTask"),
        ("saga", "request", "/evenkeel.saga.v1.SagaService/StartSaga"),
        ("quota", "request", "/evenkeel.quota.v1.QuotaSteps/Reserve"),
        ("quota", "barrier", "postgresql"),
        ("task", "barrier", "postgresql"),
    ];
    eventually(LONG, || async {
        let shown = |span: Span| {
            let what = match span.name.as_str() {
                "request" => span.attribute("method"),
                "barrier" => span.attribute("db.system.name"),
                _ => "",
            };
            (span.service.clone(), span.name.clone(), what.to_owned())
        };
        let seen: Vec<(String, String, String)> = collector.spans_of(TRACE).into_iter().map(shown).collect();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(service, name, kind)| {
                !seen
                    .iter()
                    .any(|(s, n, k)| (s.as_str(), n.as_str(), k.as_str()) == (*service, *name, *kind))
            })
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?} of {seen:?}"))
        }
    })
    .await;

    let spans = collector.spans_of(TRACE);
    let front = spans.iter().find(|span| span.service == "gateway").expect("seen");
    assert_eq!(front.parent_id, CALLER);
    assert_eq!(front.attribute("route"), "/api/v1/tasks");
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let created = spans
        .iter()
        .find(|span| span.service == "task" && span.attribute("method").ends_with("/CreateTask"))
        .expect("seen");
    assert_eq!(created.parent_id, front.span_id);
    for span in &spans {
        let parent = span.parent_id.as_str();
        assert!(
            parent == CALLER || ids.contains(parent),
            "{} of {} hangs in the air",
            span.name,
            span.service
        );
    }
    // What was told over RabbitMQ belongs to it, too.
    eventually(LONG, || async {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let all = [
            "quota.reserved",
            "task.created",
            "task.completed",
            "saga.completed",
        ];
        let ours = |topic: &&str| {
            heard.iter().any(|one: &::events::Received| {
                one.topic == **topic
                    && one
                        .traceparent
                        .as_deref()
                        .is_some_and(|text| text.contains(TRACE))
            })
        };
        all.iter().all(ours).then_some(())
    })
    .await;
    stop.cancel();
}
