//! The public service: decode, operate, encode.

use proto::task::v1 as pb;
use proto::task::v1::task_service_server::TaskService;
use tonic::{Request, Response, Status};

use crate::app::create_task::{Wish, create_task};
use crate::app::get_task::{get_task, task_id};
use crate::app::list_tasks::{Page, list_tasks};
use crate::app::{App, Error, cancel_task::cancel_task};
use crate::store::tasks::Task;
use crate::{DOMAIN, encode};

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
        encode::task(&self.app.config, task)
    }
}
