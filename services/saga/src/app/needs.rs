//! What the rest of a saga reads of a step's reply. An operator who gives a reply, or none, must not leave a later step
//! without the request that it is called with: that could never be mended.

use prost_reflect::DynamicMessage;
use saga_definition::{Definition, MapError};

/// A call that could not be made any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The step whose call reads the reply.
    pub(crate) reader: String,
    /// What it would not find.
    pub(crate) what: MapError,
}

/// Finds a call that reads what `reply` of the step at `step` does not hold; `None` stands for no reply at all.
pub(crate) fn missing(
    definition: &Definition,
    step: usize,
    reply: Option<&DynamicMessage>,
) -> Option<Missing> {
    for reader in definition.steps() {
        let calls = std::iter::once(&reader.call)
            .chain(&reader.compensate)
            .chain(&reader.probe);
        let of_calls = calls.map(|call| call.with.check_reply(step, reply));
        let of_condition = reader.when.as_ref().map(|when| when.check_reply(step, reply));
        if let Some(what) = of_calls.chain(of_condition).find_map(Result::err) {
            let reader = reader.name.clone();
            return Some(Missing { reader, what });
        }
    }
    let last = definition.on_compensated()?;
    let what = last.with.check_reply(step, reply).err()?;
    let reader = "on_compensated".to_owned();
    Some(Missing { reader, what })
}
