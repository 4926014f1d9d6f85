//! The public service: decode, operate, encode.

use proto::task::v1 as pb;
use proto::task::v1::task_service_server::TaskService;
use tonic::{Request, Response, Status};

use crate::app::create_task::{Wish, create_task};
use crate::app::get_task::{get_task, task_id};
use crate::app::list_tasks::{Page, list_tasks};
use crate::app::{App, cancel_task::cancel_task};
use crate::encode;
use crate::store::tasks::Task;

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
        let request = request.into_inner();
        let wish = Wish::parse(
            &self.app,
            &request.user_id,
            request.feature_id,
            request.input_data,
            request.request_id,
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
        let id = task_id(&request.into_inner().task_id)?;
        let task = get_task(&self.app, id).await?;
        Ok(Response::new(pb::GetTaskResponse {
            task: Some(self.encode(task)),
        }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let page = Page::parse(&request.into_inner())?;
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
        let request = request.into_inner();
        let id = task_id(&request.task_id)?;
        let task = cancel_task(&self.app, id, &request.reason).await?;
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

impl Public {
    fn encode(&self, task: Task) -> pb::Task {
        encode::task(&self.app.config, task)
    }
}
