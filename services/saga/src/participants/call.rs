//! Making one attempt of a step.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};
use rpc::step::StepCall;
use saga_core::{Op, OpKey, Outcome, Payload};
use saga_definition::{Context, SagaContext};
use saga_engine::{Answer, Call, CallResult, DefinitionId, Participant, ParticipantId, Participants};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::definitions::{Compiled, Definitions, Destination, MAX_STORED_BYTES, Operation};
use crate::participants::answer;
use crate::participants::codec::{DynamicCodec, MAX_REPLY_BYTES};

/// How much longer than the attempt's own timeout we wait: the client library's timeout does not cover connecting.
const SLACK: Duration = Duration::from_millis(250);

/// Calls participants over gRPC with messages whose types come from the saga's definition.
#[derive(Debug, Clone)]
pub struct GrpcParticipants {
    definitions: Arc<Definitions>,
}

impl GrpcParticipants {
    /// Makes calls as these definitions say.
    #[must_use]
    pub fn new(definitions: Arc<Definitions>) -> Self {
        Self { definitions }
    }
}

impl Participants for GrpcParticipants {
    fn participants(&self) -> Vec<Participant> {
        self.definitions.participants()
    }

    fn participant(&self, definition: DefinitionId, key: OpKey, probe: bool) -> Option<ParticipantId> {
        self.definitions.participant(definition, key, probe)
    }

    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let definitions = Arc::clone(&self.definitions);
        async move {
            let started = Instant::now();
            let answer = attempt(&definitions, &call).await;
            log(&call, &answer.result, started.elapsed()).await;
            answer
        }
    }
}

async fn attempt(definitions: &Definitions, call: &Call) -> Answer {
    let unsent = |result| Answer {
        request: None,
        result,
    };
    let limit = Duration::from_millis(call.timeout_ms);
    let loading = definitions.compiled(call.saga.definition);
    let compiled = match tokio::time::timeout(limit, loading).await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(error)) => return unsent(answer::no_definition(&error.to_string())),
        Err(_) => return unsent(answer::no_definition("the definition was not read in time")),
    };
    let Some(operation) = compiled.operation(call.key) else {
        return unsent(answer::no_definition("the definition has no such operation"));
    };
    let message = match build(&compiled, operation, call) {
        Ok(message) => message,
        Err(error) => return unsent(answer::unmappable(&error, call.refusable)),
    };
    let request = match saga_definition::encode_json(&message) {
        Ok(json) => Some(Payload::new(json)),
        Err(error) => return unsent(answer::unmappable(&error.to_string(), call.refusable)),
    };
    let (target, service, path) = match &operation.to {
        Destination::Method {
            target,
            service,
            path,
        } => (target, service, path),
        Destination::Publish { routing_key } => {
            let result = answer::no_participant(routing_key);
            return Answer { request, result };
        }
    };
    let Some(target) = target else {
        let result = answer::no_participant(service);
        return Answer { request, result };
    };
    let mut outgoing = Request::new(message);
    write_metadata(&mut outgoing, call.saga.plan.name(call.key.step), call);
    let result = match tokio::time::timeout(
        limit + SLACK,
        send(&operation.reply, path, target.channel.clone(), outgoing),
    )
    .await
    {
        Err(_) => answer::timed_out(call.timeout_ms),
        Ok(Ok(response)) => answer::of_reply(response),
        Ok(Err(status)) => answer::of_status(&status, &target.error_domain),
    };
    Answer { request, result }
}

async fn send(
    reply: &MessageDescriptor,
    path: &PathAndQuery,
    channel: tonic::transport::Channel,
    request: Request<DynamicMessage>,
) -> Result<Response<DynamicMessage>, Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_REPLY_BYTES);
    client.ready().await.map_err(|error| {
        Status::try_from_error(Box::new(error)).unwrap_or_else(|error| Status::unavailable(error.to_string()))
    })?;
    let codec = DynamicCodec { reply: reply.clone() };
    client.unary(request, path.clone(), codec).await
}

fn build(compiled: &Compiled, operation: &Operation, call: &Call) -> Result<DynamicMessage, String> {
    let input = decoded(&call.saga.input, compiled.definition().input())?;
    let mut replies = Vec::with_capacity(operation.steps_read.len());
    for &step in &operation.steps_read {
        let payload = call.replies.get(step).and_then(Option::as_ref);
        let steps = compiled.definition().steps();
        let (Some(payload), Some(source)) = (payload, steps.get(step)) else {
            continue;
        };
        replies.push((step, decoded(payload, source.call.reply_type())?));
    }
    let width = replies.last().map_or(0, |(step, _)| step + 1);
    let mut by_step = vec![None; width];
    for (step, reply) in &replies {
        by_step[*step] = Some(&**reply);
    }
    let id = call.saga.id.to_string();
    let context = Context {
        input: &input,
        replies: &by_step,
        saga: SagaContext {
            id: &id,
            business_id: &call.saga.business_id,
            reason: call.reason,
            failed_step: &call.failed_step,
            error: call.error.as_ref().map_or("", |e| &e.message),
        },
    };
    operation
        .mapping
        .build(&context)
        .map_err(|error| error.to_string())
}

/// Takes the message that rides along, or reads the text that the journal kept.
fn decoded(payload: &Payload, expected: &MessageDescriptor) -> Result<Arc<DynamicMessage>, String> {
    if let Some(message) = payload.decoded::<DynamicMessage>()
        && message.descriptor() == *expected
    {
        return Ok(message);
    }
    saga_definition::decode_json(expected, payload.json(), MAX_STORED_BYTES)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

fn write_metadata(request: &mut Request<DynamicMessage>, step: &str, call: &Call) {
    request.set_timeout(Duration::from_millis(call.timeout_ms));
    let metadata = request.metadata_mut();
    StepCall {
        saga_id: call.saga.id,
        step: step.to_owned(),
        index: call.key.index,
        op: wire_op(call.key.op),
        attempt: call.attempt,
        epoch: call.epoch,
        refusable: call.refusable,
    }
    .write(metadata);
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
