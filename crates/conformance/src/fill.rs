//! Messages made up from their descriptors, with every field set, so that whatever reads them finds something.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

const ANY: &str = "google.protobuf.Any";
/// Messages within messages are filled down to here; types that contain themselves end somewhere.
const MAX_DEPTH: usize = 8;
/// Every duration: allowed as a deadline, and long enough not to end while something is tried.
const DURATION_SECONDS: i64 = 600;
/// Every time: 2026-01-01T00:00:00Z.
const TIMESTAMP_SECONDS: i64 = 1_767_225_600;
/// Every number: small enough for everything that counts, and not 0.
const NUMBER: i32 = 7;

/// Returns a message of this type with every field set: texts name their field and `mark`, numbers are 7, flags are true, enums
/// have their first value that is not 0, lists and maps one element. Of a oneof the first member is set; an `Any` is not.
#[must_use]
pub fn filled(message: &MessageDescriptor, mark: &str) -> DynamicMessage {
    fill(message, mark, 0)
}

fn fill(descriptor: &MessageDescriptor, mark: &str, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    match descriptor.full_name() {
        "google.protobuf.Duration" => {
            message.set_field_by_name("seconds", Value::I64(DURATION_SECONDS));
            return message;
        }
        "google.protobuf.Timestamp" => {
            message.set_field_by_name("seconds", Value::I64(TIMESTAMP_SECONDS));
            return message;
        }
        "google.protobuf.Value" => {
            message.set_field_by_name("string_value", Value::String(mark.to_owned()));
            return message;
        }
        _ => {}
    }
    for field in descriptor.fields() {
        let first = field
            .containing_oneof()
            .is_none_or(|oneof| oneof.fields().next().as_ref() == Some(&field));
        if first && let Some(value) = value(&field, mark, depth) {
            message.set_field(&field, value);
        }
    }
    message
}

fn value(field: &FieldDescriptor, mark: &str, depth: usize) -> Option<Value> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            return None;
        };
        let key = key(&entry.map_entry_key_field(), mark)?;
        let value = single(&entry.map_entry_value_field(), mark, depth)?;
        return Some(Value::Map(HashMap::from([(key, value)])));
    }
    let one = single(field, mark, depth)?;
    Some(if field.is_list() {
        Value::List(vec![one])
    } else {
        one
    })
}

fn key(field: &FieldDescriptor, mark: &str) -> Option<MapKey> {
    match single(field, mark, 0)? {
        Value::Bool(key) => Some(MapKey::Bool(key)),
        Value::I32(key) => Some(MapKey::I32(key)),
        Value::I64(key) => Some(MapKey::I64(key)),
        Value::U32(key) => Some(MapKey::U32(key)),
        Value::U64(key) => Some(MapKey::U64(key)),
        Value::String(key) => Some(MapKey::String(key)),
        Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_)
        | Value::Message(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}

fn single(field: &FieldDescriptor, mark: &str, depth: usize) -> Option<Value> {
    Some(match field.kind() {
        Kind::Double => Value::F64(NUMBER.into()),
        Kind::Float => Value::F32(7.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(NUMBER),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(NUMBER.into()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(NUMBER.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(NUMBER.unsigned_abs().into()),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(format!("{}-{mark}", field.name())),
        Kind::Bytes => Value::Bytes(mark.as_bytes().to_vec().into()),
        Kind::Enum(values) => {
            let first = values.values().find(|value| value.number() != 0);
            Value::EnumNumber(first.map_or(0, |value| value.number()))
        }
        // Its type would have to be known to whoever writes it as JSON.
        Kind::Message(inner) if inner.full_name() == ANY => return None,
        Kind::Message(inner) if depth < MAX_DEPTH => Value::Message(fill(&inner, mark, depth + 1)),
        Kind::Message(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_product_is_filled_and_can_be_written_as_json() {
        let pool = proto::descriptor_pool();
        let mut count = 0;
        for message in pool
            .all_messages()
            .filter(|message| !message.is_map_entry() && message.full_name() != ANY)
        {
            let filled = filled(&message, "x");
            let json = saga_definition::encode_json(&filled)
                .unwrap_or_else(|error| panic!("{}: {error}", message.full_name()));
            let read = saga_definition::decode_json(&message, &json, 1 << 20)
                .unwrap_or_else(|error| panic!("{}: {error}", message.full_name()));
            assert_eq!(read, filled, "{}", message.full_name());
            count += 1;
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn no_field_outside_a_oneof_is_left_unset() {
        let pool = proto::descriptor_pool();
        let message = pool.get_message_by_name("evenkeel.task.v1.TaskRunInput").unwrap();
        let filled = filled(&message, "x");
        for field in message.fields() {
            assert!(filled.has_field(&field), "{}", field.name());
        }
    }
}
