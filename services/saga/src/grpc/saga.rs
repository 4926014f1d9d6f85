//! SagaService: decodes requests, hands them to the operations, encodes answers.

use std::sync::Arc;

use proto::saga::v1 as pb;
use proto::saga::v1::saga_service_server::SagaService;
use tonic::{Request, Response, Status};

use super::{answer, caller};
use crate::app::App;

/// Sagas and definitions.
#[derive(Debug)]
pub(super) struct Sagas(pub(super) Arc<App>);

#[tonic::async_trait]
impl SagaService for Sagas {
    async fn start_saga(
        &self,
        request: Request<pb::StartSagaRequest>,
    ) -> Result<Response<pb::StartSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.start(caller, request.into_inner()).await)
    }

    async fn get_saga(
        &self,
        request: Request<pb::GetSagaRequest>,
    ) -> Result<Response<pb::GetSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.get(caller, request.into_inner()).await)
    }

    async fn wait_saga(
        &self,
        request: Request<pb::WaitSagaRequest>,
    ) -> Result<Response<pb::WaitSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.wait(caller, request.into_inner()).await)
    }

    async fn list_sagas(
        &self,
        request: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        answer(self.0.list(request.into_inner()).await)
    }

    async fn cancel_saga(
        &self,
        request: Request<pb::CancelSagaRequest>,
    ) -> Result<Response<pb::CancelSagaResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.cancel(caller, request.into_inner()).await)
    }

    async fn register_definition(
        &self,
        request: Request<pb::RegisterDefinitionRequest>,
    ) -> Result<Response<pb::RegisterDefinitionResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.register(caller, request.into_inner()).await)
    }

    async fn activate_definition(
        &self,
        request: Request<pb::ActivateDefinitionRequest>,
    ) -> Result<Response<pb::ActivateDefinitionResponse>, Status> {
        let caller = caller(&request);
        answer(self.0.activate(caller, request.into_inner()).await)
    }

    async fn list_definitions(
        &self,
        request: Request<pb::ListDefinitionsRequest>,
    ) -> Result<Response<pb::ListDefinitionsResponse>, Status> {
        answer(self.0.list_definitions(request.into_inner()).await)
    }
}
