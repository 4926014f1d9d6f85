//! Exports to a real collector endpoint. One test, since a process has one global subscriber.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use telemetry::trace::{self, Traceparent};
use telemetry::{Config, Error, Format};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Instrument;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_as_children_of_the_callers_span() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let config = Config {
        service: "quota".to_owned(),
        format: Format::Json,
        otlp_endpoint: Some(endpoint),
        ..Config::default()
    };
    let guard = telemetry::init(&config).unwrap();
    assert!(matches!(
        telemetry::init(&Config::default()),
        Err(Error::AlreadySet)
    ));

    let caller = Traceparent::random();
    let span = tracing::info_span!("reserve", saga_id = "saga_1");
    trace::set_parent_from(&span, &caller.to_string());
    let sent = async {
        let mut metadata = MetadataMap::new();
        trace::inject(&mut metadata);
        metadata.get(trace::HEADER).unwrap().to_str().unwrap().to_owned()
    }
    .instrument(span)
    .await;
    guard.shutdown().await;

    let requests = collector.0.lock().unwrap().clone();
    let resource = &requests[0].resource_spans[0];
    assert!(format!("{:?}", resource.resource).contains("quota"));
    let exported = &resource.scope_spans[0].spans[0];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(exported.name, "reserve");
    assert_eq!(hex(&exported.trace_id), caller.trace_id());
    assert!(caller.to_string().contains(&hex(&exported.parent_span_id)));
    assert!(
        sent.contains(&hex(&exported.span_id)) && sent.contains(&caller.trace_id()),
        "{sent}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_named_and_nothing_is_installed() {
    let level = Config {
        level: "quota=loud".to_owned(),
        ..Config::default()
    };
    assert!(
        telemetry::init(&level)
            .unwrap_err()
            .to_string()
            .contains("quota=loud")
    );
    let ratio = Config {
        sample_ratio: 1.5,
        ..Config::default()
    };
    assert!(telemetry::init(&ratio).unwrap_err().to_string().contains("1.5"));
    let endpoint = Config {
        otlp_endpoint: Some("not a url".to_owned()),
        ..Config::default()
    };
    let begun = Instant::now();
    assert!(
        telemetry::init(&endpoint)
            .unwrap_err()
            .to_string()
            .contains("not a url")
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}
