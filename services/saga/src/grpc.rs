//! SagaService: decodes requests, hands them to the operations, encodes answers.

use std::error::Error as _;
use std::sync::Arc;

use process::grpc::Permit;
use proto::saga::v1 as pb;
use proto::saga::v1::saga_service_server::{SagaService, SagaServiceServer};
use tonic::{Request, Response, Status};

use crate::app::{App, Caller, Error, FORWARDED_HEADER};
use crate::definitions;

/// Returns the service as routes for a listener.
pub(crate) fn routes(app: Arc<App>) -> tonic::service::Routes {
    tonic::service::Routes::new(SagaServiceServer::new(Api(app)))
}

#[derive(Debug)]
struct Api(Arc<App>);

fn caller<T>(request: &Request<T>) -> Caller {
    let metadata = request.metadata();
    Caller {
        actor: rpc::step::actor(metadata),
        traceparent: telemetry::trace::current_traceparent(),
        forwarded: metadata.contains_key(FORWARDED_HEADER),
        permit: request.extensions().get::<Permit>().cloned(),
    }
}

/// Logs what is not the caller's doing, once, with its causes; callers see the reason only.
fn refuse(error: Error) -> Status {
    match &error {
        Error::Journal(_) | Error::Definition(definitions::Error::Database(_)) => {
            tracing::warn!(error = chain(&error), "a request met the database's absence");
        }
        Error::Definition(definitions::Error::Damaged { .. }) => {
            tracing::error!(
                error = chain(&error),
                "a stored definition or saga cannot be read"
            );
        }
        Error::Definition(definitions::Error::NotFound(_) | definitions::Error::Conflict { .. })
        | Error::Invalid { .. }
        | Error::Id { .. }
        | Error::PageToken
        | Error::TooLarge { .. }
        | Error::Input(_)
        | Error::StepUnknown { .. }
        | Error::NotFound(_)
        | Error::InputMismatch(_)
        | Error::PastCommitPoint(_)
        | Error::Ended { .. }
        | Error::Overloaded
        | Error::AskAgain
        | Error::OwnerAway(_)
        | Error::Owner(_) => tracing::debug!(%error, "a request was refused"),
    }
    error.into()
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(refuse)
}

#[tonic::async_trait]
impl SagaService for Api {
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
        answer(self.0.get(request.into_inner()).await)
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
