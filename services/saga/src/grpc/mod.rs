//! The services of the API: they decode requests, hand them to the operations, and encode answers.

mod completion;
mod operator;
mod saga;

use std::error::Error as _;
use std::sync::Arc;

use process::grpc::Permit;
use proto::saga::v1::completion_service_server::{self, CompletionServiceServer};
use proto::saga::v1::operator_service_server::{self, OperatorServiceServer};
use proto::saga::v1::saga_service_server::{self, SagaServiceServer};
use token::{OPERATOR, ORCHESTRATOR};
use tonic::{Request, Response, Status};

use crate::app::{App, Caller, Error, FORWARDED_HEADER};
use crate::definitions;

/// What is served, by full name.
pub(crate) const SERVICES: [&str; 3] = [
    saga_service_server::SERVICE_NAME,
    operator_service_server::SERVICE_NAME,
    completion_service_server::SERVICE_NAME,
];

/// Returns the services as routes for a listener.
pub(crate) fn routes(app: &Arc<App>) -> tonic::service::Routes {
    tonic::service::Routes::new(SagaServiceServer::new(saga::Sagas(Arc::clone(app))))
        .add_service(OperatorServiceServer::new(operator::Operators(Arc::clone(app))))
        .add_service(CompletionServiceServer::new(completion::Completions(Arc::clone(
            app,
        ))))
}

fn caller<T>(request: &Request<T>) -> Caller {
    let metadata = request.metadata();
    let verified = token::caller(request);
    let says_who = metadata
        .get(rpc::step::ACTOR_HEADER)
        .and_then(|name| name.to_str().ok())
        .is_some_and(|name| !name.trim().is_empty());
    // Another instance has verified the caller, and says who it was.
    let from_peer = verified.is_service(ORCHESTRATOR) && metadata.contains_key(FORWARDED_HEADER);
    Caller {
        actor: if from_peer {
            rpc::step::actor(metadata)
        } else {
            verified.actor(metadata)
        },
        // Many people share the identity of the operator.
        named: says_who || !verified.is_service(OPERATOR),
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
        | Error::Changed(_)
        | Error::NotAllowed { .. }
        | Error::Token(_)
        | Error::NotWaiting { .. }
        | Error::Answered { .. }
        | Error::GivenUp { .. }
        | Error::Overloaded
        | Error::AskAgain
        | Error::OwnerAway(_)
        | Error::Parked(_)
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
