//! A stand-in for the orchestrator: it really calls the steps, but keeps everything in memory and knows no retries but that
//! of Pending.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ids::SagaId;
use prost::Message;
use prost_reflect::DynamicMessage;
use proto::billing::v1::billing_steps_client::BillingStepsClient;
use proto::saga::v1 as pb;
use proto::saga::v1::completion_service_server::{self, CompletionService, CompletionServiceServer};
use proto::saga::v1::saga_service_server::{self, SagaService, SagaServiceServer};
use proto::saga::v1::{OperationState, SagaPhase, SagaReason};
use rpc::error::{Reason, code_name, info};
use rpc::step::{Op, StepCall};
use test_support::identities;
use token::Channel;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::scripts;

const DOMAIN: &str = "saga.evenkeel";

/// The fake. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct FakeSagas {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    participant: Option<BillingStepsClient<Channel>>,
    down: bool,
    stalled: Vec<String>,
    /// Steps of other services that say no.
    refusing: Vec<String>,
    /// What was granted for each order, and not taken back.
    granted: HashMap<String, i64>,
    sagas: HashMap<(String, String), Entry>,
    clawbacks: Vec<ClawBack>,
    /// Sagas whose pending steps somebody wants asked again.
    hints: Vec<SagaId>,
}

/// Quota that a saga would have taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClawBack {
    pub(crate) id: String,
    pub(crate) order_id: String,
    /// 0: everything.
    pub(crate) amount: i64,
}

#[derive(Clone)]
struct Entry {
    input: Vec<u8>,
    saga: pb::Saga,
}

/// A saga that is being run.
#[derive(Clone)]
pub(crate) struct Running {
    fake: FakeSagas,
    key: (String, String),
    pub(crate) saga_id: SagaId,
    pub(crate) steps: BillingStepsClient<Channel>,
}

impl FakeSagas {
    pub(crate) fn routes(&self) -> Routes {
        let names = [
            saga_service_server::SERVICE_NAME,
            completion_service_server::SERVICE_NAME,
        ];
        let guard = identities().guard("saga").layer(&names).unwrap();
        let sagas = Routes::new(SagaServiceServer::new(self.clone()));
        guard.guard(sagas.add_service(CompletionServiceServer::new(self.clone())))
    }

    pub(crate) fn participant(&self, steps: BillingStepsClient<Channel>) {
        self.lock().participant = Some(steps);
    }

    /// Fails every call with UNAVAILABLE, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Sagas of this type are recorded and not run: the test calls their steps itself.
    pub(crate) fn stall(&self, saga: &str) {
        self.lock().stalled.push(saga.to_owned());
    }

    /// Steps of this name that other services would answer are refused.
    pub(crate) fn refuse(&self, step: &str) {
        self.lock().refusing.push(step.to_owned());
    }

    /// Returns the quota that was granted for an order and not taken back.
    pub(crate) fn granted(&self, order_id: &str) -> i64 {
        self.lock().granted.get(order_id).copied().unwrap_or_default()
    }

    /// Returns the sagas of a type: their business ids.
    pub(crate) fn started(&self, saga: &str) -> Vec<String> {
        let inner = self.lock();
        let found = inner.sagas.keys().filter(|(name, _)| name == saga);
        found.map(|(_, business_id)| business_id.clone()).collect()
    }

    /// Returns a saga as it stands.
    pub(crate) fn saga(&self, saga: &str, business_id: &str) -> Option<pb::Saga> {
        let key = (saga.to_owned(), business_id.to_owned());
        self.lock().sagas.get(&key).map(|entry| entry.saga.clone())
    }

    /// Returns the sagas whose pending steps somebody wanted asked again.
    pub(crate) fn hints(&self) -> Vec<SagaId> {
        self.lock().hints.clone()
    }

    /// Returns the quota that was taken back.
    pub(crate) fn clawbacks(&self) -> Vec<ClawBack> {
        self.lock().clawbacks.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn change(&self, key: &(String, String), change: impl FnOnce(&mut pb::Saga)) {
        change(&mut self.lock().sagas.get_mut(key).unwrap().saga);
    }

    fn admit(&self) -> Result<(), Status> {
        if self.lock().down {
            return Err(Status::unavailable("down"));
        }
        Ok(())
    }

    fn find(&self, wanted: &pb::GetSagaRequest) -> Result<Entry, Status> {
        let inner = self.lock();
        let key = (wanted.r#type.clone(), wanted.business_id.clone());
        let by_id = |entry: &&Entry| entry.saga.saga_id == wanted.saga_id;
        let found = inner.sagas.get(&key);
        found
            .or_else(|| inner.sagas.values().find(by_id))
            .cloned()
            .ok_or_else(|| Reason::SagaNotFound.status(DOMAIN, "no such saga"))
    }

    async fn drive(self, key: (String, String), input: Vec<u8>, saga_id: SagaId) {
        let steps = self.lock().participant.clone().unwrap();
        let running = Running {
            fake: self,
            key: key.clone(),
            saga_id,
            steps,
        };
        let bytes = input.as_slice();
        match key.0.as_str() {
            "PAYMENT" => scripts::payment::run(&running, Message::decode(bytes).unwrap()).await,
            "PAYMENT_PURCHASE" => scripts::purchase::run(&running, Message::decode(bytes).unwrap()).await,
            "PAYMENT_REFUND" => scripts::refund::run(&running, Message::decode(bytes).unwrap()).await,
            "WITHDRAWAL" => scripts::withdrawal::run(&running, Message::decode(bytes).unwrap()).await,
            other => panic!("there is no saga {other}"),
        }
    }

    /// Waits like the real one: until what is asked for, or until the bound has passed.
    async fn wait(&self, key: &(String, String), wait: Option<pb::WaitUntil>) -> bool {
        let Some(wait) = wait else { return false };
        let bound = wait
            .timeout
            .map_or(Duration::from_secs(10), |t| t.try_into().unwrap());
        let reached = || {
            let saga = self.lock().sagas[key].saga.clone();
            match wait.until.as_ref().unwrap() {
                pb::wait_until::Until::Step(name) => {
                    saga.phase() != SagaPhase::Running || saga.steps.iter().any(|s| &s.name == name)
                }
                pb::wait_until::Until::End(_) => {
                    matches!(saga.phase(), SagaPhase::Completed | SagaPhase::Compensated)
                }
                pb::wait_until::Until::NewerThan(_) => true,
            }
        };
        let mut polls = tokio::time::interval(Duration::from_millis(2));
        let until = async {
            while !reached() {
                polls.tick().await;
            }
        };
        tokio::time::timeout(bound, until).await.is_ok()
    }
}

impl Running {
    /// The first call of an action.
    pub(crate) fn action(&self, step: &str) -> StepCall {
        StepCall {
            saga_id: self.saga_id,
            step: step.to_owned(),
            index: 0,
            op: Op::Action,
            attempt: 1,
            epoch: 1,
            refusable: true,
        }
    }

    /// A call of an action that cannot be refused: those behind the commit point.
    pub(crate) fn retriable(&self, step: &str) -> StepCall {
        StepCall {
            refusable: false,
            ..self.action(step)
        }
    }

    /// The first call of a compensation.
    pub(crate) fn compensation(&self, step: &str) -> StepCall {
        StepCall {
            op: Op::Compensation,
            refusable: false,
            ..self.action(step)
        }
    }

    /// Writes that a step has succeeded.
    pub(crate) fn succeeded(&self, step: &str) {
        let done = pb::SagaStep {
            name: step.to_owned(),
            action: Some(pb::Operation {
                state: OperationState::Succeeded.into(),
                ..pb::Operation::default()
            }),
            ..pb::SagaStep::default()
        };
        self.fake.change(&self.key, |saga| saga.steps.push(done));
    }

    /// Writes that a step was refused: the saga goes back.
    pub(crate) fn refused(&self, step: &str, status: &Status) {
        let info = info(status);
        let error = pb::SagaError {
            step: step.to_owned(),
            code: code_name(status.code()).to_owned(),
            reason: info.as_ref().map(|i| i.reason.clone()).unwrap_or_default(),
            domain: info.map(|i| i.domain).unwrap_or_default(),
            message: status.message().to_owned(),
        };
        self.fake.change(&self.key, |saga| {
            saga.phase = SagaPhase::Compensating.into();
            saga.reason = SagaReason::Refused.into();
            saga.error = Some(error);
        });
    }

    /// Writes that the quota service took quota back.
    pub(crate) fn claw_back(&self, id: &str, order_id: &str, amount: i64) {
        let (id, order_id) = (id.to_owned(), order_id.to_owned());
        let clawback = ClawBack { id, order_id, amount };
        self.fake.lock().clawbacks.push(clawback);
    }

    /// A step of another service: tells whether it was done.
    pub(crate) fn other(&self, step: &str) -> bool {
        if self.fake.lock().refusing.iter().any(|name| name == step) {
            self.refused(
                step,
                &Reason::InvalidArgument.status("other.evenkeel", "the test wants it"),
            );
            return false;
        }
        self.succeeded(step);
        true
    }

    /// Grants quota for an order, or takes all of it back with 0.
    pub(crate) fn grant(&self, order_id: &str, quota: i64) {
        self.fake.lock().granted.insert(order_id.to_owned(), quota);
    }

    /// Writes that the saga has ended.
    pub(crate) fn ended(&self, phase: SagaPhase) {
        self.fake.change(&self.key, |saga| saga.phase = phase.into());
    }
}

/// Puts the metadata of a call on a request.
pub(crate) fn called<T>(call: &StepCall, message: T) -> Request<T> {
    let mut request = Request::new(message);
    call.write(request.metadata_mut());
    request
}

/// Calls a step again and again until it does not answer Pending.
pub(crate) async fn settled<R, F>(mut call: impl FnMut() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut polls = tokio::time::interval(Duration::from_millis(5));
    let until = async {
        loop {
            polls.tick().await;
            let answer = call().await?;
            if rpc::step::pending(answer.metadata()).is_none() {
                return Ok(answer.into_inner());
            }
        }
    };
    tokio::time::timeout(crate::world::DEADLINE, until)
        .await
        .expect("the step is pending for too long")
}

/// Calls a step until it has answered for good: again while it is pending, and while nobody knows.
pub(crate) async fn insist<R, F>(mut call: impl FnMut() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut polls = tokio::time::interval(Duration::from_millis(5));
    loop {
        polls.tick().await;
        match call().await {
            Ok(answer) if rpc::step::pending(answer.metadata()).is_some() => {}
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Internal) => {}
            Err(status) => return Err(status),
        }
    }
}

/// Writes an input as the orchestrator shows it.
fn input_json(entry: &Entry) -> String {
    let name = match entry.saga.r#type.as_str() {
        "PAYMENT" => "PaymentInput",
        "PAYMENT_PURCHASE" => "PaymentPurchaseInput",
        "PAYMENT_REFUND" => "PaymentRefundInput",
        "WITHDRAWAL" => "WithdrawalInput",
        other => panic!("there is no saga {other}"),
    };
    let descriptor = proto::descriptor_pool()
        .get_message_by_name(&format!("evenkeel.billing.v1.{name}"))
        .unwrap();
    let message = DynamicMessage::decode(descriptor, entry.input.as_slice()).unwrap();
    serde_json::to_string(&message).unwrap()
}

fn not_needed<T>() -> Result<Response<T>, Status> {
    Err(Status::new(Code::Unimplemented, "no test needs it"))
}

#[tonic::async_trait]
impl SagaService for FakeSagas {
    async fn start_saga(
        &self,
        request: Request<pb::StartSagaRequest>,
    ) -> Result<Response<pb::StartSagaResponse>, Status> {
        self.admit()?;
        let request = request.into_inner();
        let Some(pb::start_saga_request::Input::Message(any)) = request.input else {
            panic!("the input is not a message");
        };
        let key = (request.r#type, request.business_id);
        let known = self.lock().sagas.get(&key).map(|entry| entry.input.clone());
        let created = known.is_none();
        match known {
            Some(known) if known != any.value => {
                return Err(Reason::SagaInputMismatch.status(DOMAIN, "another input"));
            }
            Some(_) => {}
            None => {
                let saga_id = SagaId::new();
                let saga = pb::Saga {
                    saga_id: saga_id.to_string(),
                    r#type: key.0.clone(),
                    business_id: key.1.clone(),
                    phase: SagaPhase::Running.into(),
                    ..pb::Saga::default()
                };
                let entry = Entry {
                    input: any.value.clone(),
                    saga,
                };
                let stalled = {
                    let mut inner = self.lock();
                    inner.sagas.insert(key.clone(), entry);
                    inner.stalled.contains(&key.0)
                };
                if !stalled {
                    tokio::spawn(self.clone().drive(key.clone(), any.value, saga_id));
                }
            }
        }
        let waited_for_reached = self.wait(&key, request.wait).await;
        Ok(Response::new(pb::StartSagaResponse {
            saga: self.saga(&key.0, &key.1),
            created,
            waited_for_reached,
        }))
    }

    async fn get_saga(
        &self,
        request: Request<pb::GetSagaRequest>,
    ) -> Result<Response<pb::GetSagaResponse>, Status> {
        self.admit()?;
        let mut entry = self.find(request.get_ref())?;
        entry.saga.input_json = input_json(&entry);
        Ok(Response::new(pb::GetSagaResponse {
            saga: Some(entry.saga),
            ..pb::GetSagaResponse::default()
        }))
    }

    async fn wait_saga(
        &self,
        _: Request<pb::WaitSagaRequest>,
    ) -> Result<Response<pb::WaitSagaResponse>, Status> {
        not_needed()
    }

    async fn cancel_saga(
        &self,
        _: Request<pb::CancelSagaRequest>,
    ) -> Result<Response<pb::CancelSagaResponse>, Status> {
        not_needed()
    }

    async fn list_sagas(
        &self,
        _: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        not_needed()
    }

    async fn register_definition(
        &self,
        _: Request<pb::RegisterDefinitionRequest>,
    ) -> Result<Response<pb::RegisterDefinitionResponse>, Status> {
        not_needed()
    }

    async fn activate_definition(
        &self,
        _: Request<pb::ActivateDefinitionRequest>,
    ) -> Result<Response<pb::ActivateDefinitionResponse>, Status> {
        not_needed()
    }

    async fn list_definitions(
        &self,
        _: Request<pb::ListDefinitionsRequest>,
    ) -> Result<Response<pb::ListDefinitionsResponse>, Status> {
        not_needed()
    }
}

#[tonic::async_trait]
impl CompletionService for FakeSagas {
    async fn ask_again(
        &self,
        request: Request<pb::AskAgainRequest>,
    ) -> Result<Response<pb::AskAgainResponse>, Status> {
        self.admit()?;
        let saga = request.get_ref().saga_id.parse().unwrap();
        self.lock().hints.push(saga);
        Ok(Response::new(pb::AskAgainResponse {}))
    }

    async fn complete_step(
        &self,
        _: Request<pb::CompleteStepRequest>,
    ) -> Result<Response<pb::CompleteStepResponse>, Status> {
        not_needed()
    }

    async fn fail_step(
        &self,
        _: Request<pb::FailStepRequest>,
    ) -> Result<Response<pb::FailStepResponse>, Status> {
        not_needed()
    }
}
