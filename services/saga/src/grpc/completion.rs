//! CompletionService: decodes requests, hands them to the operations, encodes answers.

use std::sync::Arc;

use proto::saga::v1 as pb;
use proto::saga::v1::completion_service_server::CompletionService;
use tonic::{Request, Response, Status};

use super::{answer, caller};
use crate::app::App;

/// Answers of steps that come later than their calls.
#[derive(Debug)]
pub(super) struct Completions(pub(super) Arc<App>);

#[tonic::async_trait]
impl CompletionService for Completions {
    async fn complete_step(
        &self,
        request: Request<pb::CompleteStepRequest>,
    ) -> Result<Response<pb::CompleteStepResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.complete_step(caller, request.into_inner()).await)
    }

    async fn fail_step(
        &self,
        request: Request<pb::FailStepRequest>,
    ) -> Result<Response<pb::FailStepResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.fail_step(caller, request.into_inner()).await)
    }

    async fn ask_again(
        &self,
        request: Request<pb::AskAgainRequest>,
    ) -> Result<Response<pb::AskAgainResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.ask_again(caller, request.into_inner()).await)
    }
}
