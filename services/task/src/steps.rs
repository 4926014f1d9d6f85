//! The steps that a saga calls: read the call, decode, and run the work behind the barrier.

use barrier::{Again, Stop};
use ids::{SagaId, TaskId, UserId};
use proto::task::v1 as pb;
use proto::task::v1::task_steps_server::TaskSteps;
use rpc::error::Reason;
use rpc::step::{self, StepCall};
use serde_json::json;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use crate::DOMAIN;
use crate::app::App;
use crate::app::complete_task::complete_task;
use crate::app::create_task_record::create_task_record;
use crate::app::finish_failed_task::finish_failed_task;
use crate::app::mark_task_failing::mark_task_failing;
use crate::app::run_pipeline::run_pipeline;
use crate::app::stop_pipeline::stop_pipeline;
use crate::json::from_struct;
use crate::store::tasks::NewTask;

/// TaskSteps, as in `proto/evenkeel/task/v1/task_steps.proto`.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) app: App,
}

#[tonic::async_trait]
impl TaskSteps for Steps {
    async fn create_task_record(
        &self,
        request: Request<pb::CreateTaskRecordRequest>,
    ) -> Result<Response<pb::CreateTaskRecordResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, _: Again| {
                create_task_record(conn, new_task(&call, &request)?).await
            },
        )
        .await;
        self.told(answer)
    }

    async fn mark_task_failing(
        &self,
        request: Request<pb::MarkTaskFailingRequest>,
    ) -> Result<Response<pb::MarkTaskFailingResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, _: Again| {
                mark_task_failing(conn, &call, task_id(&request.task_id)?).await
            },
        )
        .await;
        self.told(answer)
    }

    async fn run_pipeline(
        &self,
        request: Request<pb::RunPipelineRequest>,
    ) -> Result<Response<pb::RunPipelineResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, again: Again| {
                run_pipeline(&self.app, conn, &call, task_id(&request.task_id)?, again).await
            },
        )
        .await?;
        if step::pending(answer.metadata()).is_some() {
            // Committed by now: the worker of this process need not wait for its next scan.
            self.app.due.notify_one();
        }
        self.told(Ok(answer))
    }

    async fn stop_pipeline(
        &self,
        request: Request<pb::StopPipelineRequest>,
    ) -> Result<Response<pb::StopPipelineResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, _: Again| {
                stop_pipeline(conn, &call, task_id(&request.task_id)?).await
            },
        )
        .await;
        self.told(answer)
    }

    async fn complete_task(
        &self,
        request: Request<pb::CompleteTaskRequest>,
    ) -> Result<Response<pb::CompleteTaskResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, _: Again| {
                let result = match &request.result {
                    Some(result) => from_struct(result).map_err(|e| argument("result", e))?,
                    None => json!({}),
                };
                complete_task(conn, &call, task_id(&request.task_id)?, &result).await
            },
        )
        .await;
        self.told(answer)
    }

    async fn finish_failed_task(
        &self,
        request: Request<pb::FinishFailedTaskRequest>,
    ) -> Result<Response<pb::FinishFailedTaskResponse>, Status> {
        let (call, request) = read(request)?;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            &request,
            DOMAIN,
            async |conn: &mut PgConnection, _: Again| {
                finish_failed_task(conn, &call, task_id(&request.task_id)?, &request).await
            },
        )
        .await;
        self.told(answer)
    }
}

impl Steps {
    /// Lets the feeds be told of a step that was committed.
    fn told<R>(&self, answer: Result<Response<R>, Status>) -> Result<Response<R>, Status> {
        if answer.is_ok() {
            self.app.feeds.written();
        }
        answer
    }
}

fn read<T>(request: Request<T>) -> Result<(StepCall, T), Status> {
    let call = StepCall::read(request.metadata(), DOMAIN)?;
    Ok((call, request.into_inner()))
}

fn task_id(text: &str) -> Result<TaskId, Stop> {
    id("task_id", text)
}

fn id<K: ids::Kind>(field: &str, text: &str) -> Result<ids::Id<K>, Stop> {
    text.parse()
        .map_err(|error| Stop::refuse(Reason::InvalidId, format!("{field}: {error}")))
}

fn argument(field: &str, problem: impl std::fmt::Display) -> Stop {
    Stop::refuse(Reason::InvalidArgument, format!("{field} {problem}"))
}

fn new_task(call: &StepCall, request: &pb::CreateTaskRecordRequest) -> Result<NewTask, Stop> {
    let saga_id: SagaId = id("saga_id", &request.saga_id)?;
    if saga_id != call.saga_id {
        return Err(argument("saga_id", "is not the saga that calls"));
    }
    if request.amount <= 0 {
        return Err(argument("amount", "must be above zero"));
    }
    if request.feature_id.is_empty() || request.feature_id.contains('\0') {
        return Err(argument("feature_id", "must be a name"));
    }
    let user_id: UserId = id("user_id", &request.user_id)?;
    let input_data = match &request.input_data {
        Some(input) => from_struct(input).map_err(|e| argument("input_data", e))?,
        None => json!({}),
    };
    Ok(NewTask {
        id: task_id(&request.task_id)?,
        user_id,
        feature_id: request.feature_id.clone(),
        input_data,
        amount: request.amount,
        saga_id,
    })
}
