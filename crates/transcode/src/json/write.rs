//! From messages to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, SerializeOptions, Value as Field,
};
use serde_json::{Map, Number, Value};

use super::short_name;

/// Largest integer of which every smaller one is a float of its own, 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns a message as JSON: lowerCamelCase, fields without presence always there, enum values without their prefix, 64-bit
/// integers as numbers, times as in RFC 3339, bytes in base64.
#[must_use]
pub fn value(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    if descriptor.full_name().starts_with("google.protobuf.") {
        return well_known(message);
    }
    let mut object = Map::new();
    for field in descriptor.fields() {
        // Absent is what can be absent: optional fields, messages, members of a oneof.
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let found = message.get_field(&field);
        object.insert(field.json_name().to_owned(), whole(&field, &found));
    }
    Value::Object(object)
}

fn whole(field: &FieldDescriptor, value: &Field) -> Value {
    match value {
        Field::List(items) => items.iter().map(|item| single(&field.kind(), item)).collect(),
        Field::Map(entries) => {
            let Kind::Message(entry) = field.kind() else {
                return Value::Null;
            };
            let kind = entry.map_entry_value_field().kind();
            // A map has no order; a document has.
            let mut entries: Vec<_> = entries.iter().map(|(k, v)| (key(k), single(&kind, v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Field::Bool(_)
        | Field::I32(_)
        | Field::I64(_)
        | Field::U32(_)
        | Field::U64(_)
        | Field::F32(_)
        | Field::F64(_)
        | Field::String(_)
        | Field::Bytes(_)
        | Field::EnumNumber(_)
        | Field::Message(_) => single(&field.kind(), value),
    }
}

fn single(kind: &Kind, field: &Field) -> Value {
    match field {
        Field::Bool(it) => (*it).into(),
        Field::I32(it) => (*it).into(),
        Field::I64(it) => (*it).into(),
        Field::U32(it) => (*it).into(),
        Field::U64(it) => (*it).into(),
        Field::F32(it) => float(f64::from(*it)),
        Field::F64(it) => float(*it),
        Field::String(it) => it.as_str().into(),
        Field::Bytes(it) => STANDARD.encode(it).into(),
        // Without a name it is a newer server's value; its number is all we have.
        Field::EnumNumber(number) => {
            let named = kind
                .as_enum()
                .and_then(|all| Some((all, all.get_value(*number)?)));
            named.map_or_else(
                || (*number).into(),
                |(all, named)| short_name(all, named.name()).into(),
            )
        }
        Field::Message(message) => value(message),
        Field::List(_) | Field::Map(_) => Value::Null,
    }
}

fn key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// What JSON has no number for is a text, as in protobuf's own JSON.
fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => "NaN".into(),
        None if number > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// Writes a type of google.protobuf by the rules of protobuf's own JSON.
fn well_known(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let written = message.serialize_with_options(serde_json::value::Serializer, &options);
    // Only a time outside of the years 1 to 9999 or the like cannot be written.
    let mut value = written.unwrap_or(Value::Null);
    if matches!(message.descriptor().name(), "Struct" | "Value" | "ListValue") {
        whole_numbers(&mut value);
    }
    value
}

/// Every number of a Struct is a float; those that were integers are written as such again.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number
                .as_f64()
                .filter(|n| n.fract() == 0.0 && n.abs() < MAX_EXACT)
            {
                #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
                let integer = float as i64;
                *number = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(entries) => entries.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
