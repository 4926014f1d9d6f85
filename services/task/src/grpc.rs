//! The public service: decode, operate, encode.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::task::v1 as pb;
use proto::task::v1::task_service_server::TaskService;
use tonic::{Request, Response, Status};

use crate::app::create_task::{Wish, create_task};
use crate::app::get_task::{get_task, task_id};
use crate::app::list_tasks::{Page, list_tasks};
use crate::app::{App, Error, cancel_task::cancel_task};
use crate::store::tasks::Task;
use crate::{DOMAIN, json};

/// TaskService, as in `proto/evenkeel/task/v1/task_service.proto`.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) app: App,
}

#[tonic::async_trait]
impl TaskService for Public {
    async fn create_task(
        &self,
        request: Request<pb::CreateTaskRequest>,
    ) -> Result<Response<pb::CreateTaskResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request_id = request_id(&request)?;
        let request = request.into_inner();
        let wish = Wish::parse(
            &self.app,
            user_id,
            request.feature_id,
            request.input_data,
            request_id,
        )?;
        let task = create_task(&self.app, &wish).await?;
        Ok(Response::new(pb::CreateTaskResponse {
            task: Some(self.encode(task)),
        }))
    }

    async fn get_task(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::GetTaskResponse>, Status> {
        let visible_to = token::caller(&request).confined_to()?;
        let id = task_id(&request.into_inner().task_id)?;
        let task = get_task(&self.app, id, visible_to).await?;
        Ok(Response::new(pb::GetTaskResponse {
            task: Some(self.encode(task)),
        }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let page = Page::parse(user_id, request.get_ref())?;
        let (tasks, next_page_token) = list_tasks(&self.app, &page).await?;
        Ok(Response::new(pb::ListTasksResponse {
            tasks: tasks.into_iter().map(|task| self.encode(task)).collect(),
            next_page_token,
        }))
    }

    async fn cancel_task(
        &self,
        request: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        let visible_to = token::caller(&request).confined_to()?;
        let request = request.into_inner();
        let id = task_id(&request.task_id)?;
        let task = cancel_task(&self.app, id, visible_to, &request.reason).await?;
        Ok(Response::new(pb::CancelTaskResponse {
            task: Some(self.encode(task)),
        }))
    }

    async fn list_features(
        &self,
        _: Request<pb::ListFeaturesRequest>,
    ) -> Result<Response<pb::ListFeaturesResponse>, Status> {
        let features = self.app.config.features.iter().map(|(id, feature)| pb::Feature {
            feature_id: id.clone(),
            title: feature.title.clone(),
            amount: feature.amount,
            steps: feature.pipeline.steps.iter().map(|s| s.name.clone()).collect(),
        });
        Ok(Response::new(pb::ListFeaturesResponse {
            features: features.collect(),
        }))
    }
}

/// Metadata that stands for an empty `request_id`: the key of an HTTP request, as the gateway passes it on.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Returns the id under which a repetition of the request is recognised; empty if the caller gave none.
fn request_id(request: &Request<pb::CreateTaskRequest>) -> Result<String, Error> {
    let named = &request.get_ref().request_id;
    let Some(key) = request.metadata().get(IDEMPOTENCY_KEY) else {
        return Ok(named.clone());
    };
    if !named.is_empty() {
        return Ok(named.clone());
    }
    key.to_str().map(str::to_owned).map_err(|_| Error::Argument {
        field: IDEMPOTENCY_KEY,
        problem: "must be printable ASCII".to_owned(),
    })
}

impl Public {
    fn encode(&self, task: Task) -> pb::Task {
        // Before the pipeline has begun, its length is that of the feature as configured now.
        let configured = || {
            let feature = self.app.config.features.get(&task.feature_id);
            feature.map_or(0, |f| f.pipeline.steps.len())
        };
        let steps_total = match task.steps_total {
            Some(total) => u32::try_from(total).unwrap_or(0),
            None => u32::try_from(configured()).unwrap_or(u32::MAX),
        };
        pb::Task {
            task_id: task.id.to_string(),
            user_id: task.user_id.to_string(),
            feature_id: task.feature_id,
            input_data: Some(json::to_struct(&task.input_data)),
            result: task.result.as_ref().map(json::to_struct),
            state: task.state.wire().into(),
            error_reason: task.error_reason.unwrap_or_default(),
            error_message: task.error_message.unwrap_or_default(),
            saga_id: task.saga_id.to_string(),
            amount: task.amount,
            steps_done: u32::try_from(task.steps_done).unwrap_or(0),
            steps_total,
            created_at: Some(timestamp(task.created_at)),
            updated_at: Some(timestamp(task.updated_at)),
            finished_at: task.finished_at.map(timestamp),
        }
    }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
    }
}
