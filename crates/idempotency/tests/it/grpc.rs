//! The layer for gRPC, around a service that tonic made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::Request as HttpRequest;
use idempotency::{Key, Scope, Store};
use proto::bench::v1::baseline_service_client::BaselineServiceClient;
use proto::bench::v1::baseline_service_server::{BaselineService, BaselineServiceServer};
use proto::bench::v1::{RunSagaRequest, RunSagaResponse};
use rpc::error::Reason;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use crate::world::{Kind, World, order};

type Client = BaselineServiceClient<
    BoxCloneSyncService<HttpRequest<Body>, axum::http::Response<Body>, std::convert::Infallible>,
>;

const PATH: &str = "/evenkeel.bench.v1.BaselineService/RunSaga";

#[derive(Debug, Default, Clone)]
struct Fake {
    runs: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl BaselineService for Fake {
    /// Refuses with the code that the request names; tells a key that it was given in the message.
    async fn run_saga(&self, request: Request<RunSagaRequest>) -> Result<Response<RunSagaResponse>, Status> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let key = request
            .extensions()
            .get::<Key>()
            .map(|key| key.as_str().to_owned());
        let code = Code::from_i32(i32::try_from(request.get_ref().refuse_step).unwrap());
        if code == Code::Ok {
            return Ok(Response::new(RunSagaResponse { completed: true }));
        }
        if code == Code::FailedPrecondition {
            // Any reason: details of a status are kept as well.
            return Err(Reason::QuotaInsufficient.status("bench.evenkeel", format!("run {run}")));
        }
        Err(Status::new(code, format!("run {run} {key:?}")))
    }
}

fn client(store: &Store, fake: &Fake, is_unary: bool) -> Client {
    let refuse = |reason: Reason, retry_after: Option<Duration>| {
        let mut status = reason.status("test.evenkeel", "refused");
        if let Some(time) = retry_after {
            let seconds = time.as_secs().to_string().parse().unwrap();
            status.metadata_mut().insert("retry-after", seconds);
        }
        status
    };
    let unary = move |path: &str| is_unary && path == PATH;
    let service = ServiceBuilder::new()
        .map_request(|mut request: HttpRequest<Body>| {
            request.extensions_mut().insert(Scope("user_1".to_owned()));
            request
        })
        .layer(idempotency::grpc::Layer::new(store.clone(), unary, refuse))
        .service(BaselineServiceServer::new(fake.clone()));
    BaselineServiceClient::new(BoxCloneSyncService::new(service))
}

fn run(key: &str, code: Code, payload: &str) -> Request<RunSagaRequest> {
    let mut request = Request::new(RunSagaRequest {
        payload: payload.to_owned(),
        refuse_step: u32::try_from(i32::from(code)).unwrap(),
    });
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

fn is_replayed(metadata: &tonic::metadata::MetadataMap) -> bool {
    metadata
        .get("idempotency-replayed")
        .is_some_and(|value| value == "true")
}

#[rstest::rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_calls_are_run_once(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let (world, fake) = (World::new(kind).await, Fake::default());
    let client = client(&world.store, &fake, true);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let mut client = client.clone();
        calls.spawn(async move { client.run_saga(run("key-1", Code::Ok, "a")).await });
    }
    for result in calls.join_all().await {
        match result {
            Ok(response) => assert!(response.get_ref().completed),
            Err(status) => {
                let info = rpc::error::info(&status).unwrap();
                assert_eq!(info.reason, "IDEMPOTENCY_KEY_IN_USE");
                assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
            }
        }
    }
    assert_eq!(fake.runs.load(Ordering::SeqCst), 1);
    let again = client
        .clone()
        .run_saga(run("key-1", Code::Ok, "a"))
        .await
        .unwrap();
    assert!(again.get_ref().completed);
    assert!(is_replayed(again.metadata()));
    let other = client
        .clone()
        .run_saga(run("key-1", Code::Ok, "b"))
        .await
        .unwrap_err();
    assert_eq!(rpc::error::info(&other).unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(fake.runs.load(Ordering::SeqCst), 1);
}

#[rstest::rstest]
#[tokio::test]
async fn a_definite_no_is_kept_with_its_details_and_trouble_is_not(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let (world, fake) = (World::new(kind).await, Fake::default());
    let mut client = client(&world.store, &fake, true);
    for number in 1..=16 {
        let code = Code::from_i32(number);
        let key = format!("key-{number}");
        let first = client.run_saga(run(&key, code, "a")).await.unwrap_err();
        let second = client.run_saga(run(&key, code, "a")).await.unwrap_err();
        let kept = [
            Code::InvalidArgument,
            Code::NotFound,
            Code::PermissionDenied,
            Code::FailedPrecondition,
            Code::OutOfRange,
        ]
        .contains(&code);
        assert_eq!((first.code(), second.code()), (code, code));
        assert_eq!(first.message() == second.message(), kept, "{code:?}");
        assert_eq!(
            first.details() == second.details(),
            kept || first.details().is_empty()
        );
        assert_eq!(is_replayed(second.metadata()), kept, "{code:?}");
    }
}

#[rstest::rstest]
#[tokio::test]
async fn the_service_sees_the_key_and_shares_it_with_no_other(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let (world, fake) = (World::new(kind).await, Fake::default());
    // The gateway passes the key of a request on to the service behind it.
    assert_eq!(world.send(order("key-1")).await.status, 201);
    let mut client = client(&world.store, &fake, true);
    let status = client
        .run_saga(run("\"key-1\"", Code::Aborted, "a"))
        .await
        .unwrap_err();
    assert_eq!(status.message(), "run 1 Some(\"key-1\")");
}

#[rstest::rstest]
#[tokio::test]
async fn streams_calls_without_a_key_and_bad_keys(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let (world, fake) = (World::new(kind).await, Fake::default());
    let mut through = client(&world.store, &fake, false);
    for _ in 0..2 {
        let response = through.run_saga(run("key-1", Code::Ok, "a")).await.unwrap();
        assert!(!is_replayed(response.metadata()));
    }
    let mut client = client(&world.store, &fake, true);
    for _ in 0..2 {
        let request = Request::new(RunSagaRequest::default());
        assert!(!is_replayed(client.run_saga(request).await.unwrap().metadata()));
    }
    assert_eq!(fake.runs.load(Ordering::SeqCst), 4);
    let status = client.run_saga(run("\"", Code::Ok, "a")).await.unwrap_err();
    assert_eq!(
        rpc::error::info(&status).unwrap().reason,
        "IDEMPOTENCY_KEY_INVALID"
    );
    assert_eq!(fake.runs.load(Ordering::SeqCst), 4);
}
