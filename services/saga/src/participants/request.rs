//! What a step is called with.

use std::sync::Arc;

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};
use saga_core::{Op, Payload};
use saga_definition::{Condition, Context, SagaContext};
use saga_engine::Call;

use crate::definitions::{Compiled, MAX_STORED_BYTES, Operation};

/// Builds the request of a call; `None` if the condition of its step does not hold, so that nothing is to be called.
///
/// # Errors
/// In words, if the saga holds nothing that a request could be made of.
pub(crate) fn build(
    compiled: &Compiled,
    operation: &Operation,
    call: &Call,
) -> Result<Option<DynamicMessage>, String> {
    let condition = match call.key.op {
        Op::Action => compiled.condition(call.key.step),
        Op::Compensation => None,
    };
    let input = decoded(&call.saga.input, compiled.definition().input())?;
    let steps = compiled.definition().steps();
    let mut by_step: Vec<Option<Arc<DynamicMessage>>> = vec![None; steps.len()];
    let of_condition = condition.map(Condition::steps_read).unwrap_or_default();
    for &step in operation.steps_read.iter().chain(&of_condition) {
        let payload = call.replies.get(step).and_then(Option::as_ref);
        let (Some(payload), Some(source)) = (payload, steps.get(step)) else {
            continue;
        };
        by_step[step] = Some(decoded(payload, source.call.reply_type())?);
    }
    let replies: Vec<Option<&DynamicMessage>> = by_step.iter().map(Option::as_deref).collect();
    let id = call.saga.id.to_string();
    let context = Context {
        input: &input,
        replies: &replies,
        saga: SagaContext {
            id: &id,
            business_id: &call.saga.business_id,
            reason: call.reason,
            failed_step: &call.failed_step,
            error: call.error.as_ref().map_or("", |e| &e.message),
        },
    };
    if let Some(condition) = condition
        && !condition.holds(&context).map_err(|error| error.to_string())?
    {
        return Ok(None);
    }
    let built = operation.mapping.build(&context);
    built.map(Some).map_err(|error| error.to_string())
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
