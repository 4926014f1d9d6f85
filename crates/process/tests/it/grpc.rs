//! Listeners: what surrounds a request, overload, drain.

use std::sync::Arc;
use std::time::Duration;

use process::Shutdown;
use process::grpc::{self, Limits, Listener, Permit};
use process::health::{Health, LIVE, READY};
use proto::bench::v1::bench_steps_client::BenchStepsClient;
use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use test_support::eventually;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const LONG: Duration = Duration::from_secs(30);

/// Does what the payload says.
#[derive(Debug)]
struct Double {
    entered: Semaphore,
    go_on: Notify,
}

/// The service wraps it so that the test keeps a handle.
#[derive(Debug, Clone)]
struct Handle(Arc<Double>);

impl Handle {
    fn new() -> Self {
        Self(Arc::new(Double {
            entered: Semaphore::new(0),
            go_on: Notify::new(),
        }))
    }
}

#[tonic::async_trait]
impl BenchSteps for Handle {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let payload = match &*request.get_ref().payload {
            "panic" => panic!("a handler with a bug"),
            "trace" => telemetry::trace::current_traceparent().unwrap_or_default(),
            "wait" => {
                self.0.entered.add_permits(1);
                self.0.go_on.notified().await;
                "waited".to_owned()
            }
            "wait outside" => {
                request
                    .extensions()
                    .get::<Permit>()
                    .expect("every request has one")
                    .release();
                self.0.entered.add_permits(1);
                self.0.go_on.notified().await;
                "waited".to_owned()
            }
            other => other.len().to_string(),
        };
        Ok(Response::new(WorkResponse { payload }))
    }

    async fn undo(&self, _: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

struct Running {
    double: Handle,
    health: Health,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), grpc::Error>>,
    channel: Channel,
}

impl Running {
    async fn start(limits: Limits, drain: Duration) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", listener.local_addr());
        let (double, health, shutdown) = (Handle::new(), Health::new().await, Shutdown::new(drain));
        let server = tokio::spawn({
            let (double, health, shutdown) = (double.clone(), health.clone(), shutdown.clone());
            async move {
                let routes = Routes::new(BenchStepsServer::new(double));
                grpc::serve("bench", listener, routes, &health, &shutdown, &limits).await
            }
        });
        let channel = Channel::from_shared(url).unwrap().connect_lazy();
        Self {
            double,
            health,
            shutdown,
            server,
            channel,
        }
    }

    async fn usual() -> Self {
        Self::start(Limits::default(), Duration::from_secs(20)).await
    }

    async fn work(&self, payload: &str) -> Result<String, Status> {
        let request = WorkRequest {
            payload: payload.to_owned(),
            ..WorkRequest::default()
        };
        let reply = BenchStepsClient::new(self.channel.clone()).work(request).await?;
        Ok(reply.into_inner().payload)
    }

    /// Begins a call that waits in the handler, and returns when it is there.
    async fn begin(&self, payload: &'static str) -> JoinHandle<Result<String, Status>> {
        let (channel, request) = (
            self.channel.clone(),
            WorkRequest {
                payload: payload.to_owned(),
                ..WorkRequest::default()
            },
        );
        let call = tokio::spawn(async move {
            let reply = BenchStepsClient::new(channel).work(request).await?;
            Ok(reply.into_inner().payload)
        });
        self.double.0.entered.acquire().await.unwrap().forget();
        call
    }

    async fn ask_health(&self, name: &str) -> ServingStatus {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        HealthClient::new(self.channel.clone())
            .check(request)
            .await
            .unwrap()
            .into_inner()
            .status()
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_is_answered_internal_and_harms_nobody_else() {
    let running = Running::usual().await;
    let status = running.work("panic").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "internal error")
    );
    assert_eq!(running.work("fine").await.unwrap(), "4");
}

#[tokio::test]
async fn the_callers_trace_context_is_current_in_the_handler_and_a_new_one_begins_without() {
    let running = Running::usual().await;
    let sent = telemetry::trace::Traceparent::random();
    let mut request = Request::new(WorkRequest {
        payload: "trace".to_owned(),
        ..WorkRequest::default()
    });
    telemetry::trace::scope(sent, async { telemetry::trace::inject(request.metadata_mut()) }).await;
    let reply = BenchStepsClient::new(running.channel.clone())
        .work(request)
        .await
        .unwrap();
    assert_eq!(reply.into_inner().payload, sent.to_string());

    let begun = running.work("trace").await.unwrap();
    assert!(telemetry::trace::parse_traceparent(&begun).is_ok(), "{begun}");
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let limits = Limits {
        max_message_bytes: 1000,
        ..Limits::default()
    };
    let running = Running::start(limits, Duration::from_secs(20)).await;
    // Tag and length of the field take three bytes.
    assert_eq!(running.work(&"x".repeat(997)).await.unwrap(), "997");
    let status = running.work(&"x".repeat(998)).await.unwrap_err();
    let info = rpc::error::info(&status).expect("a reason");
    assert_eq!(info.reason, "PAYLOAD_TOO_LARGE", "{status}");
    assert!(
        status.message().contains("1001 bytes") && status.message().contains("1000 bytes"),
        "{status}"
    );
    assert_eq!(running.work("x").await.unwrap(), "1");
}

#[tokio::test]
async fn an_overloaded_listener_refuses_at_once_and_still_answers_health() {
    let limits = Limits {
        max_concurrent: 1,
        max_queued: 0,
        ..Limits::default()
    };
    let running = Running::start(limits, Duration::from_secs(20)).await;
    let first = running.begin("wait").await;
    assert_eq!(
        running.work("x").await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    assert_eq!(running.ask_health(LIVE).await, ServingStatus::Serving);
    running.double.0.go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), "waited");
    assert_eq!(running.work("x").await.unwrap(), "1");
}

#[tokio::test]
async fn a_queued_request_gets_its_turn() {
    let limits = Limits {
        max_concurrent: 1,
        max_queued: 1,
        ..Limits::default()
    };
    let running = Arc::new(Running::start(limits, Duration::from_secs(20)).await);
    let first = running.begin("wait").await;
    let queued: Vec<_> = (0..2)
        .map(|_| {
            let running = Arc::clone(&running);
            tokio::spawn(async move { running.work("x").await.map_err(|status| status.code()) })
        })
        .collect();
    // One of the two waits, the other finds the queue full.
    eventually(LONG, || async { queued.iter().any(JoinHandle::is_finished) }).await;
    running.double.0.go_on.notify_one();
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for call in queued {
        answers.push(call.await.unwrap());
    }
    answers.sort_by_key(Result::is_ok);
    assert_eq!(answers, [Err(Code::ResourceExhausted), Ok("1".to_owned())]);
}

#[tokio::test]
async fn a_handler_that_released_its_permit_leaves_room_for_others() {
    let limits = Limits {
        max_concurrent: 1,
        max_queued: 0,
        ..Limits::default()
    };
    let running = Running::start(limits, Duration::from_secs(20)).await;
    let waiting = running.begin("wait outside").await;
    assert_eq!(running.work("x").await.unwrap(), "1");
    running.double.0.go_on.notify_one();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_lets_requests_in_progress_end_and_accepts_no_connection() {
    let running = Running::usual().await;
    let call = running.begin("wait").await;
    running.shutdown.trigger();
    running.double.0.go_on.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "waited");
    running.server.await.unwrap().unwrap();
    let request = WorkRequest::default();
    let refused = BenchStepsClient::new(running.channel)
        .work(request)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_time_is_answered_unavailable() {
    let running = Running::start(Limits::default(), Duration::from_millis(100)).await;
    let call = running.begin("wait").await;
    running.shutdown.trigger();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "the server is shutting down")
    );
    tokio::time::timeout(LONG, running.server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn readiness_follows_the_database_and_ends_with_the_order_to_end() {
    let running = Running::usual().await;
    assert_eq!(running.ask_health(LIVE).await, ServingStatus::Serving);
    assert_eq!(running.ask_health(READY).await, ServingStatus::NotServing);

    let database = test_support::TestDatabase::create(&[]).await;
    let pool = database.pool("public").await;
    let (order, health) = (Shutdown::new(Duration::from_secs(1)), running.health.clone());
    let supervisor = process::Supervisor::new(order.clone());
    health.follow_database(pool.clone(), &supervisor);
    eventually(LONG, || async {
        running.ask_health(READY).await == ServingStatus::Serving
    })
    .await;
    pool.close().await;
    eventually(LONG, || async {
        running.ask_health(READY).await == ServingStatus::NotServing
    })
    .await;
    assert_eq!(running.ask_health(LIVE).await, ServingStatus::Serving);
    order.trigger();
    supervisor.wait().await.unwrap();
}

#[tokio::test]
async fn reflection_lists_our_services_and_health() {
    let running = Running::usual().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut stream = ServerReflectionClient::new(running.channel.clone())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        stream.message().await.unwrap().unwrap().message_response
    else {
        panic!("another answer than asked for");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for expected in ["evenkeel.bench.v1.BenchSteps", "grpc.health.v1.Health"] {
        assert!(
            names.iter().any(|name| name == expected),
            "{expected} in {names:?}"
        );
    }
}

#[test]
fn a_taken_port_is_an_error_before_anything_is_served() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_ne!(first.local_addr().port(), 0);
    assert!(Listener::bind(first.local_addr()).is_err());
}
