//! Somebody at the operators' console.

use ids::SagaId;
use proto::saga::v1 as pb;
use proto::saga::v1::operator_service_client::OperatorServiceClient;
use test_support::{TestDatabase, identities};
use token::Channel;
use tonic::Request;

use crate::service::{Instance, request, until_step};

/// Client of the operators' service of an instance.
pub(crate) fn console(instance: &Instance) -> OperatorServiceClient<Channel> {
    let url = format!("http://{}", instance.running.local_addr());
    OperatorServiceClient::new(identities().channel(&url, "operator", "saga"))
}

/// A request of this person.
pub(crate) fn by<T>(actor: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(rpc::step::ACTOR_HEADER, actor.parse().unwrap());
    request
}

/// Starts a saga of ORDERS and waits until a step has succeeded.
pub(crate) async fn begin_until(instance: &Instance, payload: &str, step: &str) -> pb::Saga {
    let started = instance
        .begin(request(payload, Some(until_step(step))))
        .await
        .unwrap();
    assert!(started.waited_for_reached);
    started.saga.unwrap()
}

/// All that is stored about sagas, but for what relays note about messages.
pub(crate) async fn rows(database: &TestDatabase) -> String {
    sqlx::query_scalar(
        "select json_build_object(
            'instances', (select json_agg(i order by i.id) from saga.instance i),
            'events', (select json_agg(e order by e.saga_id, e.seq) from saga.event e),
            'messages', (select json_agg(o.id order by o.id) from saga.outbox o),
            'types', (select json_agg(t) from saga.type_action t)
         )::text",
    )
    .fetch_one(database.admin())
    .await
    .unwrap()
}

/// Registers and activates a definition.
pub(crate) async fn register(instance: &Instance, source: &str) {
    let request = pb::RegisterDefinitionRequest {
        source: source.to_owned(),
        ..pb::RegisterDefinitionRequest::default()
    };
    let answer = instance
        .client
        .clone()
        .register_definition(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.problems.is_empty(), "{:?}", answer.problems);
    let definition = answer.definition.unwrap();
    let request = pb::ActivateDefinitionRequest {
        name: definition.name,
        version: definition.version,
        deactivate: false,
    };
    instance
        .client
        .clone()
        .activate_definition(request)
        .await
        .unwrap();
}

/// The names of the actions that are allowed, with the steps concerned.
pub(crate) fn allowed(saga: &pb::Saga) -> Vec<String> {
    let name = |action: &pb::AllowedAction| {
        let name = action
            .action()
            .as_str_name()
            .trim_start_matches("OPERATOR_ACTION_")
            .to_owned();
        if action.step.is_empty() {
            return name;
        }
        format!("{name} {}/{}", action.step, action.op)
    };
    saga.allowed_actions.iter().map(name).collect()
}

/// An id that no saga has.
pub(crate) fn nobody() -> String {
    SagaId::new().to_string()
}
