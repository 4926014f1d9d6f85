//! Starting a saga for a caller, and waiting, bounded, for one of its steps.
//!
//! No row of business is written before the saga is there (a withdrawal's recipient is none: docs/adr/0020), and nothing is held
//! while waiting. The business id follows from who asks and the request id, so a retry finds the same saga.

use std::time::Duration;

use ids::{SagaId, UserId};
use prost::Message;
use prost_reflect::DynamicMessage;
use prost_types::Any;
use proto::saga::v1::{
    GetSagaRequest, OperationState, Saga, SagaPhase, StartSagaRequest, StartSagaResponse, WaitUntil,
    start_saga_request, wait_until,
};
use rpc::error::{Reason, info};
use rpc::repeat::until_answered;
use rpc::step::ACTOR_HEADER;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use super::App;
use crate::error::Error;

/// What a call may take beyond the wait itself.
const CALL_SLACK: Duration = Duration::from_secs(5);

/// A saga to be started for a caller.
#[derive(Debug)]
pub(crate) struct Begin<'a, I> {
    pub(crate) saga: &'static str,
    pub(crate) business_id: String,
    /// Full name of the input's type.
    pub(crate) input_type: &'static str,
    pub(crate) input: &'a I,
    /// On whose behalf.
    pub(crate) user_id: UserId,
    /// What is made: for the error if the business id stands for something else.
    pub(crate) what: &'static str,
}

/// Makes a call to the orchestrator on behalf of a user, who is written down there.
pub(crate) fn on_behalf_of<T>(user_id: UserId, message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    telemetry::trace::inject(request.metadata_mut());
    if let Ok(actor) = MetadataValue::try_from(user_id.to_string()) {
        request.metadata_mut().insert(ACTOR_HEADER, actor);
    }
    request
}

/// Starts a saga, or finds the one started before, and waits for a step of it if one is named.
///
/// Returns the saga once the step has succeeded; without a step, at once.
///
/// # Errors
/// What the step refused, under its own reason; [`Error::NotDone`] if the saga went back for another one;
/// [`Error::NotYet`] if the wait is over before.
pub(crate) async fn begin<I: Message>(
    app: &App,
    begin: &Begin<'_, I>,
    step: Option<&'static str>,
) -> Result<(SagaId, Saga), Error> {
    let input = begin.input.encode_to_vec();
    let call = |left: Duration| {
        let request = StartSagaRequest {
            r#type: begin.saga.to_owned(),
            business_id: begin.business_id.clone(),
            input: Some(start_saga_request::Input::Message(Any {
                type_url: format!("type.googleapis.com/{}", begin.input_type),
                value: input.clone(),
            })),
            wait: step.map(|step| WaitUntil {
                until: Some(wait_until::Until::Step(step.to_owned())),
                timeout: prost_types::Duration::try_from(left).ok(),
            }),
        };
        let request = on_behalf_of(begin.user_id, request, left + CALL_SLACK);
        let mut sagas = app.sagas.clone();
        async move { Ok(sagas.start_saga(request).await?.into_inner()) }
    };
    // An orchestrator that ends or dies meanwhile is no reason to fail: the same start finds this saga where it goes on.
    let reached = |answer: &StartSagaResponse| step.is_none() || answer.waited_for_reached;
    let answer = until_answered(app.config.wait, call, reached).await;
    let saga = answer
        .map_err(|status| not_started(begin.what, status))?
        .saga
        .unwrap_or_default();
    let id = saga
        .saga_id
        .parse()
        .map_err(|_| Error::Broken("the orchestrator answers without a saga id"))?;
    match step {
        Some(step) if !has_succeeded(&saga, step) => Err(without(&saga)),
        Some(_) | None => Ok((id, saga)),
    }
}

fn not_started(what: &'static str, status: Status) -> Error {
    let reason = info(&status).map(|info| info.reason).unwrap_or_default();
    if reason == Reason::SagaInputMismatch.name() {
        return Error::Mismatch(what);
    }
    if reason == Reason::Overloaded.name() {
        return Error::Overloaded;
    }
    Error::Orchestrator(Box::new(status))
}

/// Tells whether a step has succeeded. What came of it later does not matter here.
fn has_succeeded(saga: &Saga, name: &str) -> bool {
    saga.steps
        .iter()
        .filter(|step| step.name == name)
        .filter_map(|step| step.action.as_ref())
        .any(|action| action.state() == OperationState::Succeeded)
}

/// Says why a step has not succeeded.
pub(crate) fn without(saga: &Saga) -> Error {
    match saga.phase() {
        SagaPhase::Unspecified | SagaPhase::Running | SagaPhase::Completed => Error::NotYet,
        SagaPhase::Compensating | SagaPhase::Compensated | SagaPhase::Resolved => {
            let error = saga.error.clone().unwrap_or_default();
            let known = Reason::ALL
                .into_iter()
                .find(|reason| reason.name() == error.reason);
            match known {
                Some(reason) => Error::Refused {
                    reason,
                    domain: error.domain,
                    message: error.message,
                },
                None if error.reason.is_empty() => Error::NotDone(saga.reason().as_str_name().to_owned()),
                None => Error::NotDone(error.reason),
            }
        }
    }
}

/// Asks the orchestrator for a saga.
///
/// # Errors
/// [`Error::NoSaga`] if there is none.
pub(crate) async fn find(app: &App, request: GetSagaRequest) -> Result<Saga, Error> {
    let mut request = Request::new(request);
    request.set_timeout(CALL_SLACK);
    telemetry::trace::inject(request.metadata_mut());
    let answer = app.sagas.clone().get_saga(request).await;
    let answer = answer.map_err(|status| {
        let reason = info(&status).map(|info| info.reason).unwrap_or_default();
        if reason == Reason::SagaNotFound.name() {
            return Error::NoSaga;
        }
        Error::Orchestrator(Box::new(status))
    })?;
    answer
        .into_inner()
        .saga
        .ok_or(Error::Broken("the orchestrator answers without a saga"))
}

/// Reads the input of a saga of ours, as the orchestrator shows it.
pub(crate) fn input<I: Message + Default>(input_type: &str, json: &str) -> Result<I, Error> {
    let read = || {
        let descriptor = proto::descriptor_pool().get_message_by_name(input_type)?;
        let mut reader = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(descriptor, &mut reader).ok()?;
        message.transcode_to().ok()
    };
    read().ok_or(Error::Broken(
        "the orchestrator shows an input that is none of ours",
    ))
}
