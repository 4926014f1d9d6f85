//! One trace from the HTTP request to the database, seen by a collector.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use e2e::{LONG, Platform};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use test_support::{TestBroker, TestDatabase, eventually, identities};
use token::Role;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Spans as they came, with the service that made them.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
            let service = attributes
                .filter(|attribute| attribute.key == "service.name")
                .find_map(|attribute| Some(text(attribute.value.as_ref()?.value.as_ref()?)));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.extend(spans.map(|span| (service.clone().unwrap_or_default(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts to listen. Returns the URL as well.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(collector.clone()))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        (collector, url)
    }

    /// The spans of the one trace.
    fn spans(&self) -> Vec<(String, Span)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = kept.iter().filter(|(_, span)| hex(&span.trace_id) == TRACE);
        ours.cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a value; empty if it is none.
fn text(value: &AnyValue) -> String {
    if let AnyValue::StringValue(text) = value {
        text.clone()
    } else {
        String::new()
    }
}

/// A text attribute of a span.
fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    found
        .and_then(|attribute| Some(text(attribute.value.as_ref()?.value.as_ref()?)))
        .unwrap_or_default()
}

#[tokio::test]
async fn one_trace_goes_from_http_over_grpc_and_rabbitmq_to_the_database() {
    let (collector, endpoint) = Collector::start().await;
    let host = TestBroker::create().await;
    let environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint),
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
        ("gateway", "http", "POST /api/v1/tasks"),
        ("task", "request", "/evenkeel.task.v1.TaskService/CreateTask"),
        ("saga", "request", "/evenkeel.saga.v1.SagaService/StartSaga"),
        ("quota", "request", "/evenkeel.quota.v1.QuotaSteps/Reserve"),
        ("quota", "barrier", "postgresql"),
        ("task", "barrier", "postgresql"),
    ];
    eventually(LONG, || async {
        let seen: Vec<(String, String, String)> = collector
            .spans()
            .iter()
            .map(|(service, span)| {
                let kind = match span.name.as_str() {
                    "request" => attribute(span, "method"),
                    "barrier" => attribute(span, "db.system.name"),
                    name => name.to_owned(),
                };
                let name = if span.name.contains(" /") {
                    "http"
                } else {
                    &span.name
                };
                (service.clone(), name.to_owned(), kind)
            })
            .collect();
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

    let spans = collector.spans();
    let front = spans
        .iter()
        .find(|(service, _)| service == "gateway")
        .expect("seen");
    assert_eq!(hex(&front.1.parent_span_id), CALLER);
    assert_eq!(attribute(&front.1, "route"), "/api/v1/tasks");
    let ids: BTreeSet<String> = spans.iter().map(|(_, span)| hex(&span.span_id)).collect();
    let created = spans
        .iter()
        .find(|(service, span)| service == "task" && attribute(span, "method").ends_with("/CreateTask"))
        .expect("seen");
    assert_eq!(created.1.parent_span_id, front.1.span_id);
    for (service, span) in &spans {
        let parent = hex(&span.parent_span_id);
        assert!(
            parent == CALLER || ids.contains(&parent),
            "{} of {service} hangs in the air",
            span.name
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
