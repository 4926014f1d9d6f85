//! From JSON to messages.

mod number;
mod scalar;
mod well_known;

use std::collections::{HashMap, HashSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

pub(crate) use self::scalar::{expected, plain};
use crate::bad_request::{At, BadRequest, shown};
use crate::enums::NULL_VALUE;
use crate::json::Json;
use crate::well_known::WellKnown;

/// Deepest nesting of messages that is built. prost reads 100; the rest is left to those who wrap a request or a part
/// of it. A level of a `google.protobuf.Struct` is three messages.
pub const MAX_MESSAGE_DEPTH: usize = 80;

/// Reads a message.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the field: unknown or given twice, of another type, out of range, a second member of a
/// oneof, nested deeper than [`MAX_MESSAGE_DEPTH`].
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    if let Some(form) = WellKnown::of(descriptor) {
        return well_known::well_known(form, descriptor, json, at, depth);
    }
    let Json::Object(entries) = json else {
        return Err(expected("an object", json, at));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut seen = HashSet::new();
    for (key, json) in entries {
        let at = At::Name(&at, key);
        let field = field_by_key(descriptor, key).ok_or_else(|| at.bad("there is no such field"))?;
        // Both spellings of one name.
        if !seen.insert(field.number()) {
            return Err(at.bad("the field is given twice"));
        }
        if let Some(value) = field_value(&field, json, at, depth)? {
            set(&mut message, &field, value, at)?;
        }
    }
    Ok(message)
}

/// Reads the content of a field; `None` for null, which is the same as absence.
pub(crate) fn field_value(
    field: &FieldDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<Option<Value>, BadRequest> {
    if *json == Json::Null && (field.is_list() || field.is_map() || !takes_null(&field.kind())) {
        return Ok(None);
    }
    let value = if field.is_map() {
        Value::Map(map(field, json, at, depth)?)
    } else if field.is_list() {
        let Json::Array(elements) = json else {
            return Err(expected("an array", json, at));
        };
        let element = |(index, json)| element(&field.kind(), json, At::Index(&at, index), depth);
        Value::List(
            elements
                .iter()
                .enumerate()
                .map(element)
                .collect::<Result<_, _>>()?,
        )
    } else {
        element(&field.kind(), json, at, depth)?
    };
    Ok(Some(value))
}

/// Sets a field.
///
/// # Errors
/// `INVALID_ARGUMENT` if another member of its oneof is set.
pub(crate) fn set(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
    at: At<'_>,
) -> Result<(), BadRequest> {
    distinct(message, field, at)?;
    message.set_field(field, value);
    Ok(())
}

/// Refuses to set a field if another member of its oneof is set.
pub(crate) fn distinct(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    at: At<'_>,
) -> Result<(), BadRequest> {
    let other = field.containing_oneof().and_then(|oneof| {
        oneof
            .fields()
            .find(|other| other != field && message.has_field(other))
    });
    match other {
        Some(other) => Err(at.bad(format!("it cannot be given together with {}", other.json_name()))),
        None => Ok(()),
    }
}

/// Finds a field by either spelling of its name.
pub(crate) fn field_by_key(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor
        .get_field_by_json_name(key)
        .or_else(|| descriptor.get_field_by_name(key))
}

/// Returns the depth of a message inside of one at `depth`.
fn nested(depth: usize, at: At<'_>) -> Result<usize, BadRequest> {
    if depth == MAX_MESSAGE_DEPTH {
        Err(at.bad("the value is nested too deep"))
    } else {
        Ok(depth + 1)
    }
}

/// Reads one value of a kind.
pub(crate) fn element(kind: &Kind, json: &Json<'_>, at: At<'_>, depth: usize) -> Result<Value, BadRequest> {
    if let Kind::Message(inner) = kind {
        message(inner, json, at, nested(depth, at)?).map(Value::Message)
    } else {
        scalar::scalar(kind, json, at)
    }
}

fn map(
    field: &FieldDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<HashMap<prost_reflect::MapKey, Value>, BadRequest> {
    let Json::Object(entries) = json else {
        return Err(expected("an object", json, at));
    };
    let Kind::Message(entry) = field.kind() else {
        unreachable!("a map field has entries")
    };
    let (key_kind, value_kind) = (
        entry.map_entry_key_field().kind(),
        entry.map_entry_value_field().kind(),
    );
    let entry_depth = nested(depth, at)?;
    let mut map = HashMap::with_capacity(entries.len());
    for (key, json) in entries {
        let at = At::Name(&at, key);
        let value = element(&value_kind, json, at, entry_depth)?;
        if map.insert(scalar::map_key(&key_kind, key, at)?, value).is_some() {
            return Err(at.bad(format!("the key {} is there in another spelling", shown(key))));
        }
    }
    Ok(map)
}

fn takes_null(kind: &Kind) -> bool {
    kind.as_message()
        .is_some_and(|message| WellKnown::of(message) == Some(WellKnown::Value))
        || kind.as_enum().is_some_and(|kind| kind.full_name() == NULL_VALUE)
}
