//! Messages as proto-JSON, and their digest.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// Says why a message could not be read from or written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is larger than allowed.
    #[error("the JSON text has {found_bytes} bytes; at most {max_bytes} are read")]
    TooLarge {
        /// Size of the text.
        found_bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// The text is not proto-JSON of this type.
    #[error("not a {message} as JSON: {detail}")]
    Malformed {
        /// Full name of the type.
        message: String,
        /// What is wrong and where, in words.
        detail: String,
    },
    /// The message holds what JSON cannot say: a duration or time out of range, a non-finite number inside a
    /// `google.protobuf.Value`, an `Any` of unknown type.
    #[error("{message} cannot be written as JSON: {detail}")]
    Unwritable {
        /// Full name of the type.
        message: String,
        /// What cannot be written.
        detail: String,
    },
}

/// Reads a message from proto-JSON. Unknown fields are errors.
///
/// # Errors
/// [`JsonError::TooLarge`] above `max_bytes`; [`JsonError::Malformed`] if the text is not JSON of this type.
pub fn decode_json(
    message: &MessageDescriptor,
    text: &str,
    max_bytes: usize,
) -> Result<DynamicMessage, JsonError> {
    if text.len() > max_bytes {
        return Err(JsonError::TooLarge {
            found_bytes: text.len(),
            max_bytes,
        });
    }
    let malformed = |error: serde_json::Error| JsonError::Malformed {
        message: message.full_name().to_owned(),
        detail: error.to_string(),
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let decoded = DynamicMessage::deserialize(message.clone(), &mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(decoded)
}

/// Writes a message as proto-JSON. Equal messages of one type give equal texts.
///
/// # Errors
/// [`JsonError::Unwritable`] if the message holds what JSON cannot say.
pub fn encode_json(message: &DynamicMessage) -> Result<String, JsonError> {
    if holds_maps(message) {
        sorted_json(message)
    } else {
        plain_json(message)
    }
}

/// Returns SHA-256 over the message's proto-JSON with sorted keys. Unknown fields do not count.
///
/// # Errors
/// [`JsonError::Unwritable`] if the message holds what JSON cannot say.
pub fn digest(message: &DynamicMessage) -> Result<[u8; 32], JsonError> {
    Ok(Sha256::digest(sorted_json(message)?).into())
}

fn plain_json(message: &DynamicMessage) -> Result<String, JsonError> {
    serde_json::to_string(message).map_err(|error| unwritable(message, &error))
}

fn sorted_json(message: &DynamicMessage) -> Result<String, JsonError> {
    let text = plain_json(message)?;
    let json: Json = serde_json::from_str(&text).map_err(|error| unwritable(message, &error))?;
    let mut sorted = String::with_capacity(text.len());
    write_sorted(&json, &mut sorted);
    Ok(sorted)
}

fn unwritable(message: &DynamicMessage, error: &serde_json::Error) -> JsonError {
    JsonError::Unwritable {
        message: message.descriptor().full_name().to_owned(),
        detail: error.to_string(),
    }
}

/// Maps have no order of their own; what holds none is written in field order, which is cheaper.
fn holds_maps(message: &DynamicMessage) -> bool {
    // The payload of an Any is not looked into here.
    message.descriptor().full_name() == "google.protobuf.Any"
        || message.fields().any(|(_, value)| is_map(value))
}

fn is_map(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::Message(message) => holds_maps(message),
        Value::List(values) => values.iter().any(is_map),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => false,
    }
}

/// Writes JSON without spaces, keys in byte order, whatever order the map type keeps.
pub(crate) fn write_sorted(json: &Json, out: &mut String) {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_leaf(&Json::String(key.clone()), out);
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => write_leaf(json, out),
    }
}

fn write_leaf(json: &Json, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{json}");
}
