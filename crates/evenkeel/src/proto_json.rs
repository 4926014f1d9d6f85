//! Protobuf messages as JSON, as people and programs want to read them.
//!
//! Canonical proto-JSON with three differences, all to spare the reader a second parser: 64-bit integers are numbers,
//! enum values lose their prefix (`RUNNING`, not `SAGA_PHASE_RUNNING`), and the fields `input_json`, `request_json`,
//! `reply_json` become `input`, `request`, `reply` with the parsed content.

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};

const ENUM_PREFIXES: [&str; 11] = [
    "CASE_KIND_",
    "CHANNEL_",
    "DIFFERENCE_KIND_",
    "OPERATOR_ACTION_",
    "WAIT_KIND_",
    "CIRCUIT_STATE_",
    "SAGA_PHASE_",
    "SAGA_REASON_",
    "OPERATION_STATE_",
    "TASK_STATE_",
    "RESERVATION_STATE_",
];
const ENUM_FIELDS: [&str; 8] = [
    "phase", "reason", "state", "status", "action", "kind", "circuit", "channel",
];
const EMBEDDED_FIELDS: [(&str, &str); 3] = [
    ("inputJson", "input"),
    ("requestJson", "request"),
    ("replyJson", "reply"),
];

/// Returns a message of the named type as JSON.
///
/// # Panics
/// If `type_name` is not a message of this workspace's protos, or not the type of `message`.
pub(crate) fn value<M: Message>(type_name: &str, message: &M) -> Value {
    convert(type_name, message, true)
}

/// Returns a message as [`value`] does, with the fields that have their default, such as counts of zero.
///
/// # Panics
/// As [`value`].
pub(crate) fn full<M: Message>(type_name: &str, message: &M) -> Value {
    convert(type_name, message, false)
}

fn convert<M: Message>(type_name: &str, message: &M, skip_defaults: bool) -> Value {
    let descriptor = proto::descriptor_pool()
        .get_message_by_name(type_name)
        .expect("type names are literals of this crate");
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("the message was encoded from the same descriptors");
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .skip_default_fields(skip_defaults);
    let json = dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("proto-JSON of a decoded message");
    tidy(json)
}

/// Reads a JSON object as a protobuf `Struct`.
///
/// # Errors
/// If the text is not a JSON object.
///
/// # Panics
/// If the descriptor of `Struct` is missing, which the build prevents.
pub(crate) fn parse_struct(text: &str) -> Result<prost_types::Struct, serde_json::Error> {
    let descriptor = proto::descriptor_pool()
        .get_message_by_name("google.protobuf.Struct")
        .expect("the task protos import google/protobuf/struct.proto");
    let mut reader = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor, &mut reader)?;
    reader.end()?;
    Ok(dynamic
        .transcode_to()
        .expect("both sides are google.protobuf.Struct"))
}

fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().map(tidy_field).collect::<Map<_, _>>()),
        Value::Array(items) => Value::Array(items.into_iter().map(tidy).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn tidy_field((name, value): (String, Value)) -> (String, Value) {
    if let Some((_, short)) = EMBEDDED_FIELDS.iter().find(|(long, _)| *long == name)
        && let Value::String(text) = &value
        && let Ok(parsed) = serde_json::from_str(text)
    {
        // What callers put in is theirs: it is not tidied.
        return ((*short).to_owned(), parsed);
    }
    if ENUM_FIELDS.contains(&name.as_str())
        && let Value::String(text) = &value
        && let Some(short) = ENUM_PREFIXES.iter().find_map(|p| text.strip_prefix(p))
        // A reason may be a person's sentence.
        && short.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    {
        let short = Value::String(short.to_owned());
        return (name, short);
    }
    if name == "inputData" || name == "result" {
        return (name, value);
    }
    (name, tidy(value))
}

#[cfg(test)]
mod tests {
    use proto::saga::v1::{Saga, SagaPhase};
    use serde_json::json;

    use super::*;

    #[test]
    fn enums_lose_their_prefix_and_embedded_json_is_parsed() {
        let saga = Saga {
            saga_id: "saga_1".to_owned(),
            phase: SagaPhase::Running.into(),
            input_json: r#"{"amount":3,"state":"SAGA_PHASE_MINE"}"#.to_owned(),
            ..Saga::default()
        };
        assert_eq!(
            value("evenkeel.saga.v1.Saga", &saga),
            json!({"sagaId": "saga_1", "phase": "RUNNING", "input": {"amount": 3, "state": "SAGA_PHASE_MINE"}})
        );
    }

    #[test]
    fn what_a_person_wrote_is_left_alone() {
        let entry = proto::saga::v1::AuditEntry {
            reason: "SAGA_REASON_REFUSED was wrong".to_owned(),
            action: proto::saga::v1::OperatorAction::RetryNow.into(),
            ..Default::default()
        };
        assert_eq!(
            value("evenkeel.saga.v1.AuditEntry", &entry),
            json!({"reason": "SAGA_REASON_REFUSED was wrong", "action": "RETRY_NOW"})
        );
    }

    #[test]
    fn zeros_are_shown_where_all_fields_are_asked_for() {
        let status = proto::saga::v1::GetStatusResponse {
            success_rate: "100.00%".to_owned(),
            ..Default::default()
        };
        let shown = full("evenkeel.saga.v1.GetStatusResponse", &status);
        assert_eq!(
            (&shown["total"], &shown["failed"], &shown["successRate"]),
            (&json!(0), &json!(0), &json!("100.00%"))
        );
    }

    #[test]
    fn only_objects_are_structs() {
        let parsed = parse_struct(r#"{"text": "hi", "n": [1, null]}"#).unwrap();
        assert_eq!(
            value("google.protobuf.Struct", &parsed),
            json!({"text": "hi", "n": [1.0, null]})
        );
        assert!(parse_struct("[1]").is_err());
        assert!(parse_struct("{} {}").is_err());
    }

    #[test]
    fn balances_are_numbers() {
        let balance = proto::quota::v1::Balance {
            granted: 7,
            ..Default::default()
        };
        assert_eq!(
            value("evenkeel.quota.v1.Balance", &balance),
            json!({"granted": 7})
        );
    }
}
