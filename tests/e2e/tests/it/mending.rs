//! Participants that are wrong for a while: calls stay few, people see it, and the saga ends by itself once mended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use proto::saga::v1::{
    ActivateDefinitionRequest, RegisterDefinitionRequest, Saga, SagaPhase, StartSagaRequest,
    start_saga_request,
};
use test_support::eventually;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use e2e::{LONG, Mode, Platform};

const DEFINITION: &str = "
saga: MOODY
version: 1
input: evenkeel.bench.v1.BenchInput
deadline: 10m
steps:
  - name: FIRST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: SECOND
    retriable: true
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 2 }
";

/// Answers one step with a status until it is mended (`Code::Ok`).
#[derive(Clone, Default)]
pub(crate) struct Moody {
    pub(crate) mood: Arc<AtomicU32>,
    pub(crate) step: Arc<AtomicU32>,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Moody {
    fn answer(&self, step: u32) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mood = self.mood.load(Ordering::Relaxed);
        if mood != 0 && self.step.load(Ordering::Relaxed) == step {
            return Err(Status::new(Code::from(i32::try_from(mood).unwrap()), "moody"));
        }
        Ok(())
    }

    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = BenchStepsServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        address
    }
}

#[tonic::async_trait]
impl BenchSteps for Moody {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let request = request.into_inner();
        self.answer(request.step)?;
        Ok(Response::new(WorkResponse {
            payload: request.payload,
        }))
    }

    async fn undo(&self, _: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        self.answer(0)?;
        Ok(Response::new(UndoResponse {}))
    }
}

pub(crate) async fn register(platform: &Platform, source: &str, name: &str) {
    let request = RegisterDefinitionRequest {
        source: source.to_owned(),
        source_name: "test.yaml".to_owned(),
        check_only: false,
    };
    let answer = platform
        .sagas()
        .register_definition(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.problems, []);
    let request = ActivateDefinitionRequest {
        name: name.to_owned(),
        version: 1,
        deactivate: false,
    };
    platform.sagas().activate_definition(request).await.unwrap();
}

pub(crate) async fn start(platform: &Platform, kind: &str, business_id: &str) -> Saga {
    let request = StartSagaRequest {
        r#type: kind.to_owned(),
        business_id: business_id.to_owned(),
        input: Some(start_saga_request::Input::Json("{\"payload\":\"x\"}".to_owned())),
        wait: None,
    };
    platform
        .sagas()
        .start_saga(request)
        .await
        .unwrap()
        .into_inner()
        .saga
        .unwrap()
}

#[tokio::test]
async fn a_closed_door_gets_few_calls_and_attention_and_the_saga_ends_once_it_opens() {
    let moody = Moody::default();
    let address = moody.serve().await;
    let mut platform = Platform::start(Mode::Serve).await;
    platform
        .with_participant("evenkeel.bench.v1", format!("http://{address}"))
        .await;
    register(&platform, DEFINITION, "MOODY").await;
    for (step, code) in [
        (1, Code::Unauthenticated),
        (1, Code::Unimplemented),
        (2, Code::Unauthenticated),
    ] {
        moody.step.store(step, Ordering::Relaxed);
        moody
            .mood
            .store(u32::try_from(code as i32).unwrap(), Ordering::Relaxed);
        let before = moody.calls.load(Ordering::Relaxed);
        let saga = start(&platform, "MOODY", &format!("{step}-{code:?}")).await;
        let seen = eventually(LONG, || async {
            let (saga, _) = platform.saga_of(&saga.saga_id).await;
            saga.needs_attention.then_some(saga)
        })
        .await;
        assert_eq!(seen.phase(), SagaPhase::Running, "{code:?} is not a refusal");
        assert_eq!(seen.attention[0].cause, "MISCONFIGURED");
        // Two more attempts, each at least the configured wait (500 ms here, a minute by default) after the last.
        let began = std::time::Instant::now();
        let reached = before + usize::try_from(step).unwrap() + 2;
        eventually(LONG, || async { moody.calls.load(Ordering::Relaxed) >= reached }).await;
        assert!(
            began.elapsed() >= Duration::from_millis(400),
            "{:?}",
            began.elapsed()
        );
        moody.mood.store(0, Ordering::Relaxed);
        let ended = eventually(LONG, || async {
            let (saga, _) = platform.saga_of(&saga.saga_id).await;
            (saga.phase() == SagaPhase::Completed).then_some(saga)
        })
        .await;
        assert!(!ended.needs_attention);
    }
}

#[tokio::test]
async fn a_participant_that_is_not_there_costs_no_retries() {
    let moody = Moody::default();
    let port = test_support::free_port();
    let mut platform = Platform::start(Mode::Serve).await;
    platform
        .with_participant("evenkeel.bench.v1", format!("http://127.0.0.1:{port}"))
        .await;
    register(&platform, DEFINITION, "MOODY").await;
    let saga = start(&platform, "MOODY", "absent").await;
    // More failures than the retries of a compensatable step.
    eventually(LONG, || async {
        let (saga, _) = platform.saga_of(&saga.saga_id).await;
        saga.steps[0]
            .action
            .as_ref()
            .is_some_and(|action| action.attempts >= 5)
    })
    .await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let service = BenchStepsServer::new(moody);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    eventually(LONG, || async {
        platform.saga_of(&saga.saga_id).await.0.phase() == SagaPhase::Completed
    })
    .await;
}
