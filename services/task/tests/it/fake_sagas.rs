//! A stand-in for the orchestrator: it really runs the steps of TASK_RUN, but keeps everything in memory and knows no
//! retries. Quota is a number per fake.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ids::SagaId;
use prost::Message;
use proto::saga::v1 as pb;
use proto::saga::v1::saga_service_server::{SERVICE_NAME, SagaService, SagaServiceServer};
use proto::saga::v1::{OperationState, SagaPhase, SagaReason};
use proto::task::v1::TaskRunInput;
use proto::task::v1::task_steps_client::TaskStepsClient;
use rpc::error::{Reason, code_name, info};
use serde_json::json;
use test_support::{eventually, identities};
use token::Channel;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::world::{DEADLINE, Run, value};

const DOMAIN: &str = "saga.evenkeel";

/// What happens to a start after it was written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hiccup {
    /// The connection breaks: nobody is told.
    Broken,
    /// The process ends: those who wait are answered before their time.
    Ending,
}

/// The fake. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct FakeSagas {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    participant: Option<TaskStepsClient<Channel>>,
    quota: i64,
    stalled: bool,
    down: bool,
    hiccups: VecDeque<Hiccup>,
    actors: Vec<String>,
    sagas: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    input: TaskRunInput,
    saga: pb::Saga,
    cancelled: bool,
    past_commit_point: bool,
}

impl FakeSagas {
    pub(crate) fn new() -> Self {
        let fake = Self::default();
        fake.lock().quota = 1_000;
        fake
    }

    pub(crate) fn routes(&self) -> Routes {
        let guard = identities().guard("saga").layer(&[SERVICE_NAME]).unwrap();
        guard.guard(Routes::new(SagaServiceServer::new(self.clone())))
    }

    pub(crate) fn participant(&self, steps: TaskStepsClient<Channel>) {
        self.lock().participant = Some(steps);
    }

    /// Sets what can still be reserved.
    pub(crate) fn set_quota(&self, quota: i64) {
        self.lock().quota = quota;
    }

    pub(crate) fn quota(&self) -> i64 {
        self.lock().quota
    }

    /// Holds sagas before CREATE_TASK, or lets them go on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled;
    }

    /// Fails every call with UNAVAILABLE.
    pub(crate) fn break_down(&self) {
        self.lock().down = true;
    }

    /// What happens to the next starts.
    pub(crate) fn falter(&self, hiccups: &[Hiccup]) {
        self.lock().hiccups = hiccups.iter().copied().collect();
    }

    /// Who started and cancelled sagas.
    pub(crate) fn actors(&self) -> Vec<String> {
        self.lock().actors.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn entry(&self, business_id: &str) -> Entry {
        self.lock().sagas[business_id].clone()
    }

    fn change(&self, business_id: &str, change: impl FnOnce(&mut Entry)) {
        change(self.lock().sagas.get_mut(business_id).unwrap());
    }

    fn by_saga(&self, saga_id: &str) -> Result<String, Status> {
        let inner = self.lock();
        let found = inner
            .sagas
            .iter()
            .find(|(_, entry)| entry.saga.saga_id == saga_id);
        found
            .map(|(business_id, _)| business_id.clone())
            .ok_or_else(|| Reason::SagaNotFound.status(DOMAIN, "no such saga"))
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let mut inner = self.lock();
        inner
            .actors
            .push(token::caller(request).actor(request.metadata()));
        if inner.down {
            return Err(Status::unavailable("down"));
        }
        Ok(())
    }

    /// Runs a saga to its end.
    async fn drive(self, business_id: String) {
        let Entry { input, saga, .. } = self.entry(&business_id);
        let steps = self.lock().participant.clone().unwrap();
        let mut run = Run::new(steps);
        run.saga_id = saga.saga_id.parse().unwrap();
        run.task_id = input.task_id.parse().unwrap();
        run.user_id = input.user_id.parse().unwrap();

        if let Err(status) = self.reserve(input.amount) {
            self.unwind(&business_id, SagaReason::Refused, "RESERVE_QUOTA", &status);
            self.finish(&business_id, &run).await;
            return;
        }
        eventually(DEADLINE, || async { !self.lock().stalled }).await;
        let data = input.input_data.as_ref().map_or(json!({}), value);
        run.create(&input.feature_id, data).await.unwrap();
        self.change(&business_id, |entry| {
            entry.saga.steps = vec![step("CREATE_TASK", OperationState::Succeeded)];
        });
        match self.pipeline(&business_id, &run).await {
            Some(Ok(result)) => {
                run.complete(&result).await.unwrap();
                self.change(&business_id, |entry| {
                    entry.saga.phase = SagaPhase::Completed.into()
                });
                return;
            }
            Some(Err(status)) => {
                self.unwind(&business_id, SagaReason::Refused, "RUN_PIPELINE", &status);
            }
            None => {
                let status = Status::cancelled("");
                self.unwind(&business_id, SagaReason::Cancelled, "RUN_PIPELINE", &status);
                run.stop_pipeline("CANCELLED").await.unwrap();
            }
        }
        run.mark_failing().await.unwrap();
        self.lock().quota += input.amount;
        self.finish(&business_id, &run).await;
    }

    fn reserve(&self, amount: i64) -> Result<(), Status> {
        let mut inner = self.lock();
        if inner.quota < amount {
            let text = format!("{amount} wanted, {} available", inner.quota);
            return Err(Reason::QuotaInsufficient.status("quota.evenkeel", text));
        }
        inner.quota -= amount;
        Ok(())
    }

    /// Asks for the pipeline until it has ended. `None` if the saga was cancelled before.
    async fn pipeline(&self, business_id: &str, run: &Run) -> Option<Result<serde_json::Value, Status>> {
        eventually(DEADLINE, || async {
            if self.entry(business_id).cancelled {
                return Some(None);
            }
            match run.run_pipeline().await {
                Ok(answer) if rpc::step::pending(answer.metadata()).is_some() => None,
                Ok(answer) => {
                    let mut past = false;
                    self.change(business_id, |entry| {
                        past = !entry.cancelled;
                        entry.past_commit_point = past;
                    });
                    Some(past.then(|| Ok(value(&answer.into_inner().result.unwrap()))))
                }
                Err(status) => Some(Some(Err(status))),
            }
        })
        .await
    }

    fn unwind(&self, business_id: &str, reason: SagaReason, step: &str, status: &Status) {
        let info = info(status);
        self.change(business_id, |entry| {
            entry.saga.phase = SagaPhase::Compensating.into();
            entry.saga.reason = reason.into();
            entry.saga.error = Some(pb::SagaError {
                step: step.to_owned(),
                code: code_name(status.code()).to_owned(),
                reason: info.as_ref().map(|i| i.reason.clone()).unwrap_or_default(),
                domain: info.map(|i| i.domain).unwrap_or_default(),
                message: status.message().to_owned(),
            });
        });
    }

    async fn finish(&self, business_id: &str, run: &Run) {
        let reason = self.entry(business_id).saga.reason();
        let cause = reason.as_str_name().trim_start_matches("SAGA_REASON_");
        run.finish(cause).await.unwrap();
        self.change(business_id, |entry| {
            entry.saga.phase = SagaPhase::Compensated.into()
        });
    }

    /// Waits like the real one: until what is asked for, or until the bound has passed.
    async fn wait(&self, business_id: &str, wait: Option<pb::WaitUntil>) -> bool {
        let Some(wait) = wait else { return false };
        let bound = wait
            .timeout
            .map_or(Duration::from_secs(10), |t| t.try_into().unwrap());
        let reached = || {
            let saga = self.entry(business_id).saga;
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
        let mut polls = tokio::time::interval(Duration::from_millis(5));
        let until = async {
            while !reached() {
                polls.tick().await;
            }
        };
        tokio::time::timeout(bound, until).await.is_ok()
    }
}

fn step(name: &str, state: OperationState) -> pb::SagaStep {
    pb::SagaStep {
        name: name.to_owned(),
        action: Some(pb::Operation {
            state: state.into(),
            ..pb::Operation::default()
        }),
        ..pb::SagaStep::default()
    }
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
        self.admit(&request)?;
        let request = request.into_inner();
        assert_eq!(request.r#type, "TASK_RUN");
        let Some(pb::start_saga_request::Input::Message(any)) = request.input else {
            panic!("the input is not a message");
        };
        assert_eq!(any.type_url, "type.googleapis.com/evenkeel.task.v1.TaskRunInput");
        let input = TaskRunInput::decode(any.value.as_slice()).unwrap();
        assert_eq!(input.task_id, request.business_id);
        let business_id = request.business_id;
        let known = self.lock().sagas.get(&business_id).map(|e| e.input.clone());
        let created = known.is_none();
        match known {
            Some(known) if known != input => {
                return Err(Reason::SagaInputMismatch.status(DOMAIN, "another input"));
            }
            Some(_) => {}
            None => {
                let saga = pb::Saga {
                    saga_id: SagaId::new().to_string(),
                    phase: SagaPhase::Running.into(),
                    ..pb::Saga::default()
                };
                let entry = Entry {
                    input,
                    saga,
                    cancelled: false,
                    past_commit_point: false,
                };
                self.lock().sagas.insert(business_id.clone(), entry);
                tokio::spawn(self.clone().drive(business_id.clone()));
            }
        }
        let hiccup = self.lock().hiccups.pop_front();
        let waited_for_reached = match hiccup {
            Some(Hiccup::Broken) => return Err(Status::unknown("transport error")),
            Some(Hiccup::Ending) => false,
            None => self.wait(&business_id, request.wait).await,
        };
        Ok(Response::new(pb::StartSagaResponse {
            saga: Some(self.entry(&business_id).saga),
            created,
            waited_for_reached,
        }))
    }

    async fn wait_saga(
        &self,
        request: Request<pb::WaitSagaRequest>,
    ) -> Result<Response<pb::WaitSagaResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        let business_id = self.by_saga(&request.saga_id)?;
        let waited_for_reached = self.wait(&business_id, request.wait).await;
        Ok(Response::new(pb::WaitSagaResponse {
            saga: Some(self.entry(&business_id).saga),
            waited_for_reached,
        }))
    }

    async fn cancel_saga(
        &self,
        request: Request<pb::CancelSagaRequest>,
    ) -> Result<Response<pb::CancelSagaResponse>, Status> {
        self.admit(&request)?;
        let business_id = self.by_saga(&request.into_inner().saga_id)?;
        let mut past = false;
        self.change(&business_id, |entry| {
            past = entry.past_commit_point;
            entry.cancelled = !past;
        });
        if past {
            return Err(Reason::SagaPastCommitPoint.status(DOMAIN, "it only goes forward now"));
        }
        Ok(Response::new(pb::CancelSagaResponse {
            saga: Some(self.entry(&business_id).saga),
        }))
    }

    async fn get_saga(
        &self,
        _: Request<pb::GetSagaRequest>,
    ) -> Result<Response<pb::GetSagaResponse>, Status> {
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
