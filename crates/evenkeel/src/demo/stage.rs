//! What the stories act with: clients, the provider, the orchestrator, and waiting with a bound.

use std::time::{Duration, Instant};

use doubles::ai::AiProvider;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::{Balance, CreateGrantRequest, GetBalanceRequest};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{GetSagaRequest, GetSagaResponse, ListSagasRequest, Saga};
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::{GetTaskRequest, Task};
use serde_json::json;
use tonic::Status;

use super::web::{Answer, Person, Web};
use super::{Child, Narrator};
use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::dev::Places;
use crate::exit::{Code, Failure};
use crate::identity::Channel;
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
    pub(super) web: Web,
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
            web: Web::open(&places.gateway)?,
            places,
            sagas: SagaServiceClient::new(operator.channel(&places.saga, "saga")?),
            quota: QuotaServiceClient::new(operator.channel(&places.quota, "quota")?),
            tasks: TaskServiceClient::new(operator.channel(&places.task, "task")?),
        })
    }

    /// Opens an account with some quota for a new user; returns the user and the balance.
    pub(super) async fn user_with(&mut self, amount: i64) -> Result<(Person, Balance), Failure> {
        let person = self.web.register().await?;
        let balance = self.grant(&person, amount).await?;
        Ok((person, balance))
    }

    /// Gives somebody quota, as an operator.
    pub(super) async fn grant(&mut self, person: &Person, amount: i64) -> Result<Balance, Failure> {
        let user_id = person.user_id.clone();
        let request = CreateGrantRequest {
            grant_id: format!("demo-{user_id}"),
            user_id,
            amount,
            note: "the demo".to_owned(),
            ..CreateGrantRequest::default()
        };
        let answer = self
            .quota
            .create_grant(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self.answered(answer)?.balance.unwrap_or_default())
    }

    pub(super) async fn balance(&mut self, person: &Person) -> Result<Balance, Failure> {
        let request = GetBalanceRequest {
            user_id: person.user_id.clone(),
        };
        let answer = self
            .quota
            .get_balance(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self.answered(answer)?.balance.unwrap_or_default())
    }

    /// Creates a task over HTTP.
    pub(super) async fn create_task(
        &self,
        person: &Person,
        feature: &str,
        text: &str,
        key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let input = json!({ "text": text, "language": "English" });
        let body = json!({ "featureId": feature, "inputData": input });
        self.web.post("/api/v1/tasks", Some(person), key, body).await
    }

    pub(super) async fn task(&mut self, task_id: &str) -> Result<Task, Failure> {
        let request = GetTaskRequest {
            task_id: task_id.to_owned(),
        };
        let answer = self.tasks.get_task(client::request(request, CALL_TIMEOUT)).await;
        Ok(self.answered(answer)?.task.unwrap_or_default())
    }

    /// Counts somebody's tasks.
    pub(super) async fn tasks_of(&self, person: &Person) -> Result<usize, Failure> {
        let listed = self.web.get("/api/v1/tasks", person).await?;
        Ok(listed.body["tasks"].as_array().map_or(usize::MAX, Vec::len))
    }

    pub(super) async fn cancel_task(&self, person: &Person, task_id: &str) -> Result<Answer, Failure> {
        let body = json!({ "reason": "changed my mind" });
        let path = format!("/api/v1/tasks/{task_id}/cancel");
        self.web.post(&path, Some(person), None, body).await
    }

    /// The saga that a user's refused request has left.
    pub(super) async fn saga_of(&mut self, person: &Person) -> Result<Option<Saga>, Failure> {
        let request = ListSagasRequest::default();
        let answer = self
            .sagas
            .list_sagas(client::request(request, CALL_TIMEOUT))
            .await;
        Ok(self
            .answered(answer)?
            .sagas
            .into_iter()
            .find(|saga| saga.input_json.contains(&person.user_id)))
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
