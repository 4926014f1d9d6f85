//! From JSON to messages.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Field,
};
use serde_json::{Map, Value};

use super::short_name;
use crate::BadRequest;

/// Where a value stands: names as in JSON, from the outside in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldPath<'a> {
    outer: Option<&'a FieldPath<'a>>,
    name: &'a str,
}

impl<'a> FieldPath<'a> {
    pub(crate) const ROOT: FieldPath<'static> = FieldPath {
        outer: None,
        name: "",
    };

    pub(crate) const fn then(&'a self, name: &'a str) -> Self {
        Self {
            outer: Some(self),
            name,
        }
    }

    fn wrong(&self, problem: impl AsRef<str>) -> BadRequest {
        BadRequest::field(&self.to_string(), problem.as_ref())
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            outer.fmt(f)?;
            if !outer.name.is_empty() {
                f.write_str(".")?;
            }
        }
        // Keys come from outside; they are shown up to a bound.
        self.name
            .chars()
            .take(64)
            .try_for_each(|c| f.write_str(c.encode_utf8(&mut [0; 4])))
    }
}

/// What form a value has: in JSON it has a type, in a path or query it is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Json,
    Text,
}

/// Reads a message from a JSON object.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    value: Value,
    path: &FieldPath<'_>,
) -> Result<DynamicMessage, BadRequest> {
    if is_well_known(descriptor) {
        return well_known(descriptor, value, path);
    }
    let Value::Object(entries) = value else {
        return Err(path.wrong("must be an object"));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut seen = std::collections::HashSet::new();
    for (name, value) in entries {
        let here = path.then(&name);
        let found = descriptor
            .get_field_by_json_name(&name)
            .or_else(|| descriptor.get_field_by_name(&name));
        let field = found.ok_or_else(|| here.wrong("is not known"))?;
        if !seen.insert(field.number()) {
            return Err(here.wrong("comes twice, in both spellings"));
        }
        if value.is_null() && !takes_null(&field) {
            continue;
        }
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = oneof.fields().find(|other| message.has_field(other))
        {
            return Err(here.wrong(format!("and {} exclude each other", other.json_name())));
        }
        let value = whole(&field, value, &here)?;
        message.set_field(&field, value);
    }
    Ok(message)
}

fn whole(field: &FieldDescriptor, value: Value, path: &FieldPath<'_>) -> Result<Field, BadRequest> {
    if field.is_map() {
        let Value::Object(entries) = value else {
            return Err(path.wrong("must be an object"));
        };
        return map(field, entries, path);
    }
    if field.is_list() {
        let Value::Array(items) = value else {
            return Err(path.wrong("must be a list"));
        };
        let items = items.into_iter().enumerate().map(|(at, item)| {
            let at = at.to_string();
            convert(&field.kind(), item, Given::Json, &path.then(&at))
        });
        return Ok(Field::List(items.collect::<Result<_, _>>()?));
    }
    convert(&field.kind(), value, Given::Json, path)
}

fn map(
    field: &FieldDescriptor,
    entries: Map<String, Value>,
    path: &FieldPath<'_>,
) -> Result<Field, BadRequest> {
    let Kind::Message(entry) = field.kind() else {
        return Err(path.wrong("cannot be read"));
    };
    let (keys, values) = (
        entry.map_entry_key_field().kind(),
        entry.map_entry_value_field().kind(),
    );
    let entries = entries.into_iter().map(|(name, value)| {
        let here = path.then(&name);
        let key = convert(&keys, Value::String(name.clone()), Given::Text, &here)?;
        let key = match key {
            Field::Bool(key) => MapKey::Bool(key),
            Field::I32(key) => MapKey::I32(key),
            Field::I64(key) => MapKey::I64(key),
            Field::U32(key) => MapKey::U32(key),
            Field::U64(key) => MapKey::U64(key),
            Field::String(key) => MapKey::String(key),
            Field::F32(_)
            | Field::F64(_)
            | Field::Bytes(_)
            | Field::EnumNumber(_)
            | Field::Message(_)
            | Field::List(_)
            | Field::Map(_) => {
                return Err(here.wrong("cannot be a key"));
            }
        };
        Ok((key, convert(&values, value, Given::Json, &here)?))
    });
    Ok(Field::Map(entries.collect::<Result<_, _>>()?))
}

/// Reads one value of a kind.
pub(crate) fn convert(
    kind: &Kind,
    value: Value,
    given: Given,
    path: &FieldPath<'_>,
) -> Result<Field, BadRequest> {
    match kind {
        Kind::Bool => match (&value, given) {
            (Value::Bool(value), _) => Ok(Field::Bool(*value)),
            (Value::String(text), Given::Text) if text == "true" => Ok(Field::Bool(true)),
            (Value::String(text), Given::Text) if text == "false" => Ok(Field::Bool(false)),
            _ => Err(path.wrong("must be true or false")),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(&value)
            .map(Field::I32)
            .ok_or_else(|| path.wrong("must be an integer of 32 bits")),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(&value)
            .map(Field::I64)
            .ok_or_else(|| path.wrong("must be an integer of 64 bits")),
        Kind::Uint32 | Kind::Fixed32 => integer(&value)
            .map(Field::U32)
            .ok_or_else(|| path.wrong("must be an integer from 0 to 2^32 - 1")),
        Kind::Uint64 | Kind::Fixed64 => integer(&value)
            .map(Field::U64)
            .ok_or_else(|| path.wrong("must be an integer from 0 to 2^64 - 1")),
        Kind::Double => float(&value)
            .map(Field::F64)
            .ok_or_else(|| path.wrong("must be a number")),
        Kind::Float => {
            let number = float(&value).ok_or_else(|| path.wrong("must be a number"))?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float has fewer digits; too large is refused below"
            )]
            let single = number as f32;
            if single.is_infinite() && number.is_finite() {
                return Err(path.wrong("is too large"));
            }
            Ok(Field::F32(single))
        }
        Kind::String => match value {
            Value::String(text) => Ok(Field::String(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(path.wrong("must be a text"))
            }
        },
        Kind::Bytes => match value {
            Value::String(text) => bytes(&text)
                .map(Field::Bytes)
                .ok_or_else(|| path.wrong("must be base64")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(path.wrong("must be base64"))
            }
        },
        Kind::Enum(enumeration) => enum_number(enumeration, &value, given)
            .map(Field::EnumNumber)
            .ok_or_else(|| path.wrong(one_of(enumeration))),
        Kind::Message(descriptor) => message(descriptor, value, path).map(Field::Message),
    }
}

/// Reads an integer: a number without a fraction, or its text.
fn integer<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => i128::from(number),
            (None, Some(number)) => i128::from(number),
            // 1e3 and 1000.0 are integers, too; above 2^53 a float does not say which.
            (None, None) => {
                let float = number
                    .as_f64()
                    .filter(|n| n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0)?;
                #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
                let integer = float as i128;
                integer
            }
        },
        // Digits only: no plus sign, no spaces.
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => text.parse().ok()?,
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    T::try_from(number).ok()
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust would read "inf" and "nan" in any case as well.
            text if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
                text.parse().ok().filter(|number: &f64| number.is_finite())
            }
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads base64 of either alphabet, padded or not.
fn bytes(text: &str) -> Option<bytes::Bytes> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .map(bytes::Bytes::from)
}

fn enum_number(enumeration: &EnumDescriptor, value: &Value, given: Given) -> Option<i32> {
    match value {
        Value::Number(_) => integer(value),
        Value::String(text) => {
            let named = enumeration
                .values()
                .find(|value| value.name() == text || short_name(enumeration, value.name()) == text);
            match named {
                Some(value) => Some(value.number()),
                None if given == Given::Text => integer(&Value::String(text.clone())),
                None => None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn one_of(enumeration: &EnumDescriptor) -> String {
    let names: Vec<String> = enumeration
        .values()
        .filter(|value| value.number() != 0)
        .take(20)
        .map(|value| short_name(enumeration, value.name()).to_owned())
        .collect();
    format!("must be one of {}", names.join(", "))
}

fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.full_name().starts_with("google.protobuf.")
}

fn takes_null(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(inner) if inner.full_name() == "google.protobuf.Value")
}

/// Reads a type of google.protobuf by the rules of protobuf's own JSON.
fn well_known(
    descriptor: &MessageDescriptor,
    value: Value,
    path: &FieldPath<'_>,
) -> Result<DynamicMessage, BadRequest> {
    DynamicMessage::deserialize(descriptor.clone(), value)
        .map_err(|_| path.wrong(expected(descriptor.name())))
}

fn expected(name: &str) -> Cow<'static, str> {
    match name {
        "Timestamp" => "must be a time as in RFC 3339, for example 2026-11-21T08:00:00Z".into(),
        "Duration" => "must be seconds with an s, for example 1.5s".into(),
        "Struct" => "must be an object".into(),
        "ListValue" => "must be a list".into(),
        other => format!("does not fit the type {other}").into(),
    }
}
