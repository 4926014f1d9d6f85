//! Making one attempt of a step.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rpc::step::{COMPLETION_TOKEN_HEADER, StepCall};
use saga_core::{Op, OpKey, Outcome, Payload};
use saga_engine::{
    Answer, Call, CallResult, Clock as _, DefinitionId, Participant, ParticipantId, Participants, SystemClock,
};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::definitions::{Definitions, Destination, Operation};
use crate::participants::codec::{DynamicCodec, MAX_REPLY_BYTES};
use crate::participants::publish::{self, Outbox};
use crate::participants::{answer, request};
use crate::tokens::Tokens;

/// How much longer than the attempt's own timeout we wait: the client library's timeout does not cover connecting.
const SLACK: Duration = Duration::from_millis(250);

/// Calls participants over gRPC with messages whose types come from the saga's definition.
#[derive(Debug, Clone)]
pub struct GrpcParticipants(Arc<Own>);

#[derive(Debug)]
struct Own {
    definitions: Arc<Definitions>,
    tokens: Arc<Tokens>,
    outbox: Outbox,
}

impl GrpcParticipants {
    /// Makes calls as these definitions say. Requests that are published go through `outbox`.
    #[must_use]
    pub fn new(definitions: Arc<Definitions>, tokens: Arc<Tokens>, outbox: Outbox) -> Self {
        Self(Arc::new(Own {
            definitions,
            tokens,
            outbox,
        }))
    }
}

impl Participants for GrpcParticipants {
    fn participants(&self) -> Vec<Participant> {
        self.0.definitions.participants()
    }

    fn participant(&self, definition: DefinitionId, key: OpKey, probe: bool) -> Option<ParticipantId> {
        self.0.definitions.participant(definition, key, probe)
    }

    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let own = Arc::clone(&self.0);
        async move {
            let started = Instant::now();
            let answer = attempt(&own, &call).await;
            log(&call, &answer.result, started.elapsed()).await;
            answer
        }
    }
}

async fn attempt(own: &Own, call: &Call) -> Answer {
    let unsent = |result| Answer {
        request: None,
        result,
    };
    let limit = Duration::from_millis(call.timeout_ms);
    let loading = own.definitions.compiled(call.saga.definition);
    let compiled = match tokio::time::timeout(limit, loading).await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(error)) => return unsent(answer::no_definition(&error.to_string())),
        Err(_) => return unsent(answer::no_definition("the definition was not read in time")),
    };
    let operation = if call.probe {
        compiled.probe(call.key.step)
    } else {
        compiled.operation(call.key)
    };
    let Some(operation) = operation else {
        return unsent(answer::no_definition("the definition has no such operation"));
    };
    // What cannot be made was never sent, which is as definite as a barrier's word; except that a probe asks about
    // something that may have been.
    let refusable = call.refusable && !call.probe;
    let message = match request::build(&compiled, operation, call) {
        Ok(Some(message)) => message,
        Ok(None) => return unsent(CallResult::Outcome(Outcome::Skipped)),
        Err(error) => return unsent(answer::unmappable(&error, refusable)),
    };
    let json = match saga_definition::encode_json(&message) {
        Ok(json) => Payload::new(json),
        Err(error) => return unsent(answer::unmappable(&error.to_string(), refusable)),
    };
    let result = make(own, operation, call, message, json.json()).await;
    Answer {
        request: Some(json),
        result,
    }
}

async fn make(
    own: &Own,
    operation: &Operation,
    call: &Call,
    message: DynamicMessage,
    json: &str,
) -> CallResult {
    let limit = Duration::from_millis(call.timeout_ms);
    let token = operation
        .awaits()
        .map(|_| own.tokens.make(call.saga.id, call.key));
    match &operation.to {
        Destination::Method {
            target: None,
            service,
            ..
        } => answer::no_participant(service),
        Destination::Method {
            target: Some(target),
            path,
            ..
        } => {
            let mut outgoing = Request::new(message);
            write_metadata(&mut outgoing, call, token.as_deref());
            // Large: boxed, it is not moved from one future to the next.
            let sending = Box::pin(send(&operation.reply, path, target.channel.clone(), outgoing));
            match tokio::time::timeout(limit + SLACK, sending).await {
                Err(_) => answer::timed_out(call.timeout_ms),
                Ok(Ok(response)) => answer::of_reply(response),
                Ok(Err(status)) if call.probe => answer::of_probe(&status, &target.error_domain),
                Ok(Err(status)) => answer::of_status(&status, &target.error_domain),
            }
        }
        Destination::Publish { routing_key } => {
            let request = publish::Request {
                saga: call.saga.id,
                key: call.key,
                step: call.saga.plan.name(call.key.step),
                routing_key,
                json,
                traceparent: call.saga.traceparent.as_deref(),
                token,
                ask_again_ms: operation.ask_again_ms(),
                reply: &operation.reply,
                refusable: call.refusable,
            };
            let publishing = publish::publish(&own.outbox, &request, SystemClock.now());
            match tokio::time::timeout(limit, publishing).await {
                Ok(result) => result,
                Err(_) => answer::outbox_away("the outbox did not take the message in time"),
            }
        }
    }
}

async fn send(
    reply: &MessageDescriptor,
    path: &PathAndQuery,
    channel: token::Channel,
    request: Request<DynamicMessage>,
) -> Result<Response<DynamicMessage>, Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_REPLY_BYTES);
    client.ready().await.map_err(|error| {
        Status::try_from_error(Box::new(error)).unwrap_or_else(|error| Status::unavailable(error.to_string()))
    })?;
    let codec = DynamicCodec { reply: reply.clone() };
    client.unary(request, path.clone(), codec).await
}

fn write_metadata(request: &mut Request<DynamicMessage>, call: &Call, token: Option<&str>) {
    request.set_timeout(Duration::from_millis(call.timeout_ms));
    let metadata = request.metadata_mut();
    StepCall {
        saga_id: call.saga.id,
        step: call.saga.plan.name(call.key.step).to_owned(),
        index: call.key.index,
        op: wire_op(call.key.op),
        attempt: call.attempt,
        epoch: call.epoch,
        refusable: call.refusable,
    }
    .write(metadata);
    if let Some(token) = token.and_then(|token| MetadataValue::try_from(token).ok()) {
        metadata.insert(COMPLETION_TOKEN_HEADER, token);
    }
    if let Some(traceparent) = &call.saga.traceparent
        && let Ok(value) = MetadataValue::try_from(traceparent.as_str())
    {
        metadata.insert("traceparent", value);
    }
}

const fn wire_op(op: Op) -> rpc::step::Op {
    match op {
        Op::Action => rpc::step::Op::Action,
        Op::Compensation => rpc::step::Op::Compensation,
    }
}

/// Writes one line for the attempt, in the saga's trace; at `debug` if nothing is remarkable about it.
async fn log(call: &Call, result: &CallResult, elapsed: Duration) {
    let (outcome, error) = match result {
        CallResult::Outcome(Outcome::Succeeded(_)) => ("succeeded", None),
        CallResult::Outcome(Outcome::Pending) | CallResult::Pending { .. } => ("pending", None),
        CallResult::Outcome(Outcome::Skipped) => ("skipped", None),
        CallResult::Outcome(Outcome::NotSeen) => ("not_seen", None),
        CallResult::Superseded => ("superseded", None),
        CallResult::Outcome(Outcome::Refused { error, .. }) => ("refused", Some(error)),
        CallResult::Outcome(Outcome::Failed { class, error }) => (class.name(), Some(error)),
    };
    let plain = outcome == "succeeded";
    if plain && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let line = async {
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let step = call.saga.plan.name(call.key.step);
        let op = wire_op(call.key.op).name();
        if plain {
            tracing::debug!(saga_id = %call.saga.id, step, op, attempt = call.attempt, outcome, duration_ms, "step attempt");
        } else {
            tracing::info!(
                saga_id = %call.saga.id, step, op, attempt = call.attempt, outcome, duration_ms,
                code = error.map(|e| &*e.code), reason = error.map(|e| &*e.reason), error = error.map(|e| &*e.message),
                "step attempt"
            );
        }
    };
    match call
        .saga
        .traceparent
        .as_deref()
        .and_then(|text| text.parse().ok())
    {
        Some(parent) => telemetry::trace::scope(parent, line).await,
        None => line.await,
    }
}
