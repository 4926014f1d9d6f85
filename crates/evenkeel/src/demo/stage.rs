//! What the stories act with: clients, the provider, the orchestrator, and waiting with a bound.

use std::time::{Duration, Instant};

use doubles::ai::AiProvider;
use ids::UserId;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::{Balance, CreateGrantRequest, GetBalanceRequest};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{GetSagaRequest, GetSagaResponse, ListSagasRequest, Saga};
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::{CancelTaskRequest, CreateTaskRequest, GetTaskRequest, ListTasksRequest, Task};
use serde_json::json;
use tonic::Status;

use super::{Child, Narrator};
use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::dev::Places;
use crate::exit::{Code, Failure};
use crate::identity::Channel;
use crate::proto_json;
use crate::render::saga::{Timeline, has_ended};

/// Nothing in a story takes longer than this.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Everything a story needs.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) narrator: Narrator,
    pub(super) provider: &'a AiProvider,
    pub(super) child: Child,
    pub(super) places: &'a Places,
    sagas: SagaServiceClient<Channel>,
    quota: QuotaServiceClient<Channel>,
    tasks: TaskServiceClient<Channel>,
}

impl<'a> Stage<'a> {
    pub(super) fn open(
        places: &'a Places,
        provider: &'a AiProvider,
        child: Child,
        narrator: Narrator,
    ) -> Result<Self, Failure> {
        let operator = places.operator()?;
        Ok(Self {
            narrator,
            provider,
            child,
            places,
            sagas: SagaServiceClient::new(operator.channel(&places.saga, "saga")?),
            quota: QuotaServiceClient::new(operator.channel(&places.quota, "quota")?),
            tasks: TaskServiceClient::new(operator.channel(&places.task, "task")?),
        })
    }

    /// Opens an account with some quota for a new user; returns the user and the balance.
    pub(super) async fn user_with(&mut self, amount: i64) -> Result<(String, Balance), Failure> {
        let user_id = UserId::new().to_string();
        let request = CreateGrantRequest {
            grant_id: format!("demo-{user_id}"),
            user_id: user_id.clone(),
            amount,
            note: "the demo".to_owned(),
            ..CreateGrantRequest::default()
        };
        let answer = self
            .quota
            .create_grant(client::request(request, CALL_TIMEOUT))
            .await;
        let balance = self.answered(answer)?.balance.unwrap_or_default();
        Ok((user_id, balance))
    }

    pub(super) async fn balance(&mut self, user_id: &str) -> Result<Balance, Failure> {
        let request = GetBalanceRequest {
            user_id: user_id.to_owned(),
        };
        let answer = self
            .quota
            .get_balance(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self.answered(answer)?.balance.unwrap_or_default())
    }

    /// Creates a task; the inner result is the service's own answer.
    pub(super) async fn create_task(
        &mut self,
        user_id: &str,
        feature: &str,
        text: &str,
    ) -> Result<Task, Status> {
        let input = json!({ "text": text, "language": "English" }).to_string();
        let request = CreateTaskRequest {
            user_id: user_id.to_owned(),
            feature_id: feature.to_owned(),
            input_data: proto_json::parse_struct(&input).ok(),
            request_id: String::new(),
        };
        let answer = self.tasks.create_task(client::request(request, PATIENCE)).await?;
        Ok(answer.into_inner().task.unwrap_or_default())
    }

    pub(super) async fn task(&mut self, task_id: &str) -> Result<Task, Failure> {
        let request = GetTaskRequest {
            task_id: task_id.to_owned(),
        };
        let answer = self.tasks.get_task(client::request(request, CALL_TIMEOUT)).await;
        Ok(self.answered(answer)?.task.unwrap_or_default())
    }

    pub(super) async fn tasks_of(&mut self, user_id: &str) -> Result<Vec<Task>, Failure> {
        let request = ListTasksRequest {
            user_id: user_id.to_owned(),
            ..ListTasksRequest::default()
        };
        let answer = self
            .tasks
            .list_tasks(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self.answered(answer)?.tasks)
    }

    pub(super) async fn cancel_task(&mut self, task_id: &str) -> Result<Task, Failure> {
        let request = CancelTaskRequest {
            task_id: task_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        let answer = self.tasks.cancel_task(client::request(request, PATIENCE)).await;
        Ok(self.answered(answer)?.task.unwrap_or_default())
    }

    /// The saga that a user's refused request has left.
    pub(super) async fn saga_of(&mut self, user_id: &str) -> Result<Option<Saga>, Failure> {
        let request = ListSagasRequest::default();
        let answer = self
            .sagas
            .list_sagas(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self
            .answered(answer)?
            .sagas
            .into_iter()
            .find(|saga| saga.input_json.contains(user_id)))
    }

    pub(super) async fn saga(&mut self, saga_id: &str) -> Result<GetSagaResponse, Status> {
        let request = GetSagaRequest {
            saga_id: saga_id.to_owned(),
            with_history: true,
            ..GetSagaRequest::default()
        };
        Ok(self
            .sagas
            .get_saga(client::request(request, CALL_TIMEOUT))
            .await?
            .into_inner())
    }

    /// Waits until a saga is as wanted; `what` names that for people. A server that is away is asked again.
    pub(super) async fn until(
        &mut self,
        saga_id: &str,
        what: &str,
        wanted: impl Fn(&Saga) -> bool,
    ) -> Result<GetSagaResponse, Failure> {
        let begun = Instant::now();
        loop {
            let answer = self.saga(saga_id).await;
            if let Ok(answer) = &answer
                && answer.saga.as_ref().is_some_and(&wanted)
            {
                return Ok(answer.clone());
            }
            if begun.elapsed() > PATIENCE {
                let late = format!("{saga_id}: {what} did not happen within {} s", PATIENCE.as_secs());
                return Err(match answer {
                    Ok(_) => Failure::new(Code::Failed, late),
                    Err(status) => client::failure(&status, &self.places.saga),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a saga has ended.
    pub(super) async fn end(&mut self, saga_id: &str) -> Result<GetSagaResponse, Failure> {
        self.until(saga_id, "its end", |saga| has_ended(saga.phase()))
            .await
    }

    /// Waits until the provider has received a prompt that contains `text`.
    pub(super) async fn until_asked(&self, text: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        while !self
            .provider
            .requests()
            .iter()
            .any(|request| request.prompt.contains(text))
        {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(
                    Code::Failed,
                    format!("the provider was not asked about {text:?}"),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until all steps of a task's pipeline are done.
    pub(super) async fn until_pipeline_done(&mut self, task_id: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let task = self.task(task_id).await?;
            if task.steps_total > 0 && task.steps_done == task.steps_total {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(
                    Code::Failed,
                    format!("the pipeline of {task_id} did not end"),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Effects the provider had for prompts that contain `text`: how many, and whether one key had two.
    pub(super) fn effects(&self, text: &str) -> (usize, bool) {
        let books = self.provider.books();
        let effects: Vec<_> = books
            .effects
            .iter()
            .filter(|effect| effect.prompt.contains(text))
            .collect();
        let doubled = effects.iter().any(|effect| books.effects_of(&effect.key) > 1);
        (effects.len(), doubled)
    }

    /// Shows a saga's timeline.
    pub(super) fn timeline(&self, answer: &GetSagaResponse) -> Result<(), Failure> {
        let Some(saga) = &answer.saga else {
            return Ok(());
        };
        self.narrator.say(&format!("timeline of {}:", saga.saga_id))?;
        self.narrator.show(Timeline::of(saga).table(&answer.history))
    }

    fn answered<T>(&self, answer: Result<tonic::Response<T>, Status>) -> Result<T, Failure> {
        match answer {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(client::failure(&status, "the server")),
        }
    }
}
