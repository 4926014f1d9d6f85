//! A saga service that answers what it was told and remembers what it was asked.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::{Arc, Mutex};

use proto::saga::v1::operator_service_server::{OperatorService, OperatorServiceServer};
use proto::saga::v1::saga_service_server::{SagaService, SagaServiceServer};
use proto::saga::v1::*;
use rpc::error::Reason;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::evenkeel;

const DOMAIN: &str = "saga.evenkeel";

/// What it answers and what it has seen.
#[derive(Debug, Default)]
struct State {
    saga: Saga,
    status: GetStatusResponse,
    refuse: Option<(Reason, &'static str)>,
    seen: Vec<String>,
}

/// A running fake. It ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl Fake {
    /// Starts one that knows this saga.
    pub(crate) fn start(saga: Saga) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = incoming.local_addr().expect("it is bound");
        let state = State {
            saga,
            ..State::default()
        };
        let fake = Self {
            state: Arc::new(Mutex::new(state)),
            address,
        };
        let server = tonic::transport::Server::builder()
            .add_service(SagaServiceServer::new(fake.clone()))
            .add_service(OperatorServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        fake
    }

    /// Refuses every write from now on.
    pub(crate) fn refuse(&self, reason: Reason, message: &'static str) {
        self.lock().refuse = Some((reason, message));
    }

    /// Answers `GetStatus` so from now on.
    pub(crate) fn set_status(&self, status: GetStatusResponse) {
        self.lock().status = status;
    }

    /// Takes what it was asked since the last call: method, actor, message.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Runs the binary against it.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        let mut command = evenkeel(args);
        command
            .env("EVENKEEL_SAGA_URL", format!("http://{}", self.address))
            .env("EVENKEEL_ACTOR", "ann");
        // The fake lives on the threads of this test.
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs"))
            .await
            .expect("it does not panic")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    /// Remembers a request.
    fn note<T: std::fmt::Debug>(&self, request: &Request<T>) {
        let actor = request.metadata().get(rpc::step::ACTOR_HEADER);
        let actor = actor.and_then(|actor| actor.to_str().ok()).unwrap_or("nobody");
        let text = format!("{actor}: {:?}", request.get_ref());
        self.lock().seen.push(text);
    }

    /// Remembers a write, and refuses it or answers with the saga one version later.
    fn write<T: std::fmt::Debug>(&self, request: &Request<T>) -> Result<Option<Saga>, Status> {
        self.note(request);
        let mut state = self.lock();
        if let Some((reason, message)) = state.refuse {
            return Err(reason.status(DOMAIN, message));
        }
        state.saga.state_version += 1;
        Ok(Some(state.saga.clone()))
    }
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in this fake"))
}

#[tonic::async_trait]
impl SagaService for Fake {
    async fn start_saga(&self, _: Request<StartSagaRequest>) -> Result<Response<StartSagaResponse>, Status> {
        unimplemented()
    }

    async fn get_saga(&self, request: Request<GetSagaRequest>) -> Result<Response<GetSagaResponse>, Status> {
        self.note(&request);
        let saga = self.lock().saga.clone();
        if request.get_ref().saga_id != saga.saga_id {
            return Err(Reason::SagaNotFound.status(DOMAIN, "there is no such saga"));
        }
        Ok(Response::new(GetSagaResponse {
            saga: Some(saga),
            history: Vec::new(),
        }))
    }

    async fn wait_saga(&self, _: Request<WaitSagaRequest>) -> Result<Response<WaitSagaResponse>, Status> {
        unimplemented()
    }

    /// Two pages with the same saga.
    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        self.note(&request);
        let next = if request.get_ref().page_token.is_empty() {
            "more"
        } else {
            ""
        };
        Ok(Response::new(ListSagasResponse {
            sagas: vec![self.lock().saga.clone()],
            next_page_token: next.to_owned(),
        }))
    }

    async fn cancel_saga(
        &self,
        request: Request<CancelSagaRequest>,
    ) -> Result<Response<CancelSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(CancelSagaResponse { saga }))
    }

    async fn register_definition(
        &self,
        _: Request<RegisterDefinitionRequest>,
    ) -> Result<Response<RegisterDefinitionResponse>, Status> {
        unimplemented()
    }

    async fn activate_definition(
        &self,
        _: Request<ActivateDefinitionRequest>,
    ) -> Result<Response<ActivateDefinitionResponse>, Status> {
        unimplemented()
    }

    async fn list_definitions(
        &self,
        _: Request<ListDefinitionsRequest>,
    ) -> Result<Response<ListDefinitionsResponse>, Status> {
        unimplemented()
    }
}

#[tonic::async_trait]
impl OperatorService for Fake {
    async fn retry_now(
        &self,
        request: Request<RetryNowRequest>,
    ) -> Result<Response<RetryNowResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(RetryNowResponse { saga }))
    }

    async fn resolve_step_succeeded(
        &self,
        request: Request<ResolveStepSucceededRequest>,
    ) -> Result<Response<ResolveStepSucceededResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(ResolveStepSucceededResponse { saga }))
    }

    async fn resolve_step_failed(
        &self,
        request: Request<ResolveStepFailedRequest>,
    ) -> Result<Response<ResolveStepFailedResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(ResolveStepFailedResponse { saga }))
    }

    async fn skip_step(
        &self,
        request: Request<SkipStepRequest>,
    ) -> Result<Response<SkipStepResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(SkipStepResponse { saga }))
    }

    async fn compensate_saga(
        &self,
        request: Request<CompensateSagaRequest>,
    ) -> Result<Response<CompensateSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(CompensateSagaResponse { saga }))
    }

    async fn resolve_saga(
        &self,
        request: Request<ResolveSagaRequest>,
    ) -> Result<Response<ResolveSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(ResolveSagaResponse { saga }))
    }

    async fn pause_saga(
        &self,
        request: Request<PauseSagaRequest>,
    ) -> Result<Response<PauseSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(PauseSagaResponse { saga }))
    }

    async fn resume_saga(
        &self,
        request: Request<ResumeSagaRequest>,
    ) -> Result<Response<ResumeSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(ResumeSagaResponse { saga }))
    }

    async fn release_saga(
        &self,
        request: Request<ReleaseSagaRequest>,
    ) -> Result<Response<ReleaseSagaResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(ReleaseSagaResponse { saga }))
    }

    async fn acknowledge_attention(
        &self,
        request: Request<AcknowledgeAttentionRequest>,
    ) -> Result<Response<AcknowledgeAttentionResponse>, Status> {
        let saga = self.write(&request)?;
        Ok(Response::new(AcknowledgeAttentionResponse { saga }))
    }

    async fn pause_type(
        &self,
        request: Request<PauseTypeRequest>,
    ) -> Result<Response<PauseTypeResponse>, Status> {
        self.write(&request)?;
        let request = request.into_inner();
        let paused = PausedType {
            r#type: request.r#type,
            actor: "ann".to_owned(),
            reason: request.reason,
            since: None,
        };
        Ok(Response::new(PauseTypeResponse {
            paused: Some(paused),
            changed: true,
        }))
    }

    async fn resume_type(
        &self,
        request: Request<ResumeTypeRequest>,
    ) -> Result<Response<ResumeTypeResponse>, Status> {
        self.write(&request)?;
        Ok(Response::new(ResumeTypeResponse { changed: false }))
    }

    async fn list_paused_types(
        &self,
        request: Request<ListPausedTypesRequest>,
    ) -> Result<Response<ListPausedTypesResponse>, Status> {
        self.note(&request);
        let paused = ["TASK_RUN", "WITHDRAWAL"].map(|name| PausedType {
            r#type: name.to_owned(),
            actor: "bob".to_owned(),
            reason: "ticket 4711".to_owned(),
            since: None,
        });
        Ok(Response::new(ListPausedTypesResponse {
            paused: paused.into(),
        }))
    }

    /// Two pages with one entry each.
    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        self.note(&request);
        let first = request.get_ref().page_token.is_empty();
        let entry = AuditEntry {
            actor: "ann".to_owned(),
            action: OperatorAction::RetryNow.into(),
            saga_id: self.lock().saga.saga_id.clone(),
            version: if first { 12 } else { 9 },
            ..AuditEntry::default()
        };
        Ok(Response::new(ListAuditResponse {
            entries: vec![entry],
            next_page_token: if first { "more" } else { "" }.to_owned(),
        }))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        self.note(&request);
        Ok(Response::new(self.lock().status.clone()))
    }
}
