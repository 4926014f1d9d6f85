//! OperatorService: decodes requests, hands them to the operations, encodes answers.

use std::sync::Arc;

use proto::saga::v1 as pb;
use proto::saga::v1::operator_service_server::OperatorService;
use tonic::{Request, Response, Status};

use super::{answer, caller};
use crate::app::App;

/// What people do about sagas.
#[derive(Debug)]
pub(super) struct Operators(pub(super) Arc<App>);

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn retry_now(
        &self,
        request: Request<pb::RetryNowRequest>,
    ) -> Result<Response<pb::RetryNowResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn resolve_step_succeeded(
        &self,
        request: Request<pb::ResolveStepSucceededRequest>,
    ) -> Result<Response<pb::ResolveStepSucceededResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn resolve_step_failed(
        &self,
        request: Request<pb::ResolveStepFailedRequest>,
    ) -> Result<Response<pb::ResolveStepFailedResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn skip_step(
        &self,
        request: Request<pb::SkipStepRequest>,
    ) -> Result<Response<pb::SkipStepResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn compensate_saga(
        &self,
        request: Request<pb::CompensateSagaRequest>,
    ) -> Result<Response<pb::CompensateSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn resolve_saga(
        &self,
        request: Request<pb::ResolveSagaRequest>,
    ) -> Result<Response<pb::ResolveSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn pause_saga(
        &self,
        request: Request<pb::PauseSagaRequest>,
    ) -> Result<Response<pb::PauseSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn resume_saga(
        &self,
        request: Request<pb::ResumeSagaRequest>,
    ) -> Result<Response<pb::ResumeSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn release_saga(
        &self,
        request: Request<pb::ReleaseSagaRequest>,
    ) -> Result<Response<pb::ReleaseSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn acknowledge_attention(
        &self,
        request: Request<pb::AcknowledgeAttentionRequest>,
    ) -> Result<Response<pb::AcknowledgeAttentionResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.operate(caller, request.into_inner()).await)
    }

    async fn pause_type(
        &self,
        request: Request<pb::PauseTypeRequest>,
    ) -> Result<Response<pb::PauseTypeResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.pause_type(caller, request.into_inner()).await)
    }

    async fn resume_type(
        &self,
        request: Request<pb::ResumeTypeRequest>,
    ) -> Result<Response<pb::ResumeTypeResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.resume_type(caller, request.into_inner()).await)
    }

    async fn list_paused_types(
        &self,
        _: Request<pb::ListPausedTypesRequest>,
    ) -> Result<Response<pb::ListPausedTypesResponse>, Status> {
        answer(self.0.list_paused_types().await)
    }

    async fn list_audit(
        &self,
        request: Request<pb::ListAuditRequest>,
    ) -> Result<Response<pb::ListAuditResponse>, Status> {
        answer(self.0.list_audit(request.into_inner()).await)
    }

    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        answer(self.0.get_status(request.into_inner()).await)
    }
}
