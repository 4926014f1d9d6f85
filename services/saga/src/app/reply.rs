//! Replies that come from people and from completions, not from a call: checked against the type, the field named.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use saga_definition::JsonError;
use serde_json::{Map, Value};

/// Largest reply that is accepted, in bytes, in whichever form it comes; as large as one that a call may bring.
pub(crate) const MAX_REPLY_BYTES: usize = 256 * 1024;

/// A reply that does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// It is above [`MAX_REPLY_BYTES`].
    #[error("the reply has {found_bytes} bytes")]
    TooLarge { found_bytes: usize },
    /// A field of it, or the whole where `field` is empty, is not of its type.
    #[error("{}", sentence(field, problem))]
    Field { field: String, problem: String },
}

fn sentence(field: &str, problem: &str) -> String {
    if field.is_empty() {
        problem.to_owned()
    } else {
        format!("field {field}: {problem}")
    }
}

/// Reads a reply from proto-JSON; the empty text is the empty message.
pub(crate) fn of_json(expected: &MessageDescriptor, text: &str) -> Result<DynamicMessage, Misfit> {
    if text.is_empty() {
        return Ok(DynamicMessage::new(expected.clone()));
    }
    saga_definition::decode_json(expected, text, MAX_REPLY_BYTES).map_err(|error| match error {
        JsonError::TooLarge { found_bytes, .. } => Misfit::TooLarge { found_bytes },
        JsonError::Malformed { .. } | JsonError::Unwritable { .. } => {
            let place = serde_json::from_str(text)
                .ok()
                .and_then(|json: Value| misplaced(expected, &json));
            let (field, problem) = place.unwrap_or_else(|| (String::new(), error.to_string()));
            Misfit::Field { field, problem }
        }
    })
}

/// Reads a reply from a packed message; no message at all is the empty one.
pub(crate) fn of_any(expected: &MessageDescriptor, any: &prost_types::Any) -> Result<DynamicMessage, Misfit> {
    let whole = |problem| Misfit::Field {
        field: String::new(),
        problem,
    };
    let found = any.type_url.rsplit('/').next().unwrap_or_default();
    if found != expected.full_name() {
        return Err(whole(format!(
            "expected a {}, found a {found:?}",
            expected.full_name()
        )));
    }
    if any.value.len() > MAX_REPLY_BYTES {
        return Err(Misfit::TooLarge {
            found_bytes: any.value.len(),
        });
    }
    DynamicMessage::decode(expected.clone(), any.value.as_slice())
        .map_err(|error| whole(format!("not a {}: {error}", expected.full_name())))
}

/// Finds the innermost field that cannot be read, by reading each on its own. The parser's own message names a line and
/// a column of a text that the person may never have seen in that form.
fn misplaced(message: &MessageDescriptor, json: &Value) -> Option<(String, String)> {
    for (name, value) in json.as_object()? {
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        let Err(error) = DynamicMessage::deserialize(message.clone(), &alone) else {
            continue;
        };
        let known = |field: &FieldDescriptor| field.json_name() == name || field.name() == name;
        let Some(field) = message.fields().find(known) else {
            let problem = format!("{} has no such field", message.full_name());
            return Some((name.clone(), problem));
        };
        let inner = inner_type(&field).and_then(|inner| match value {
            Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
                let (field, problem) = misplaced(&inner, item)?;
                Some((format!("{name}[{index}].{field}"), problem))
            }),
            Value::Object(_) => {
                let (field, problem) = misplaced(&inner, value)?;
                Some((format!("{name}.{field}"), problem))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        });
        return Some(inner.unwrap_or_else(|| (name.clone(), error.to_string())));
    }
    None
}

/// Returns the message type whose fields may be looked into. Well-known types have JSON forms of their own.
fn inner_type(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(inner) if !field.is_map() && !inner.full_name().starts_with("google.protobuf.") => {
            Some(inner)
        }
        Kind::Message(_)
        | Kind::Enum(_)
        | Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Bool
        | Kind::String
        | Kind::Bytes => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descriptor(name: &str) -> MessageDescriptor {
        proto::descriptor_pool().get_message_by_name(name).unwrap()
    }

    fn field_of(name: &str, text: &str) -> String {
        match of_json(&descriptor(name), text) {
            Err(Misfit::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let work = "evenkeel.bench.v1.WorkResponse";
        assert_eq!(field_of(work, r#"{"payload":7}"#), "payload");
        assert_eq!(field_of(work, r#"{"payloud":"a"}"#), "payloud");
        assert_eq!(field_of(work, "[]"), "");
        assert_eq!(field_of(work, "{"), "");
        let saga = "evenkeel.saga.v1.GetSagaResponse";
        let nested = r#"{"saga":{"type":"A","steps":[{"name":"ONE"},{"name":"TWO","order":"x"}]}}"#;
        assert_eq!(field_of(saga, nested), "saga.steps[1].order");
        assert_eq!(
            field_of(saga, r#"{"saga":{"createdAt":{"seconds":"x"}}}"#),
            "saga.createdAt"
        );
        assert_eq!(
            field_of(saga, r#"{"saga":{"deadline_at":7}}"#),
            "saga.deadline_at"
        );
    }

    #[test]
    fn the_message_reads_as_a_sentence() {
        let error = of_json(
            &descriptor("evenkeel.bench.v1.WorkResponse"),
            r#"{"payloud":"a"}"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "field payloud: evenkeel.bench.v1.WorkResponse has no such field"
        );
    }

    #[test]
    fn nothing_given_is_the_empty_message() {
        let work = descriptor("evenkeel.bench.v1.WorkResponse");
        assert_eq!(of_json(&work, "").unwrap(), DynamicMessage::new(work));
    }

    #[test]
    fn a_reply_is_bounded_and_of_its_own_type() {
        let work = descriptor("evenkeel.bench.v1.WorkResponse");
        let huge = format!(r#"{{"payload":"{}"}}"#, "x".repeat(MAX_REPLY_BYTES));
        assert!(matches!(of_json(&work, &huge), Err(Misfit::TooLarge { .. })));
        let any = |type_url: &str, value: Vec<u8>| prost_types::Any {
            type_url: type_url.to_owned(),
            value,
        };
        let own = "type.googleapis.com/evenkeel.bench.v1.WorkResponse";
        assert!(matches!(
            of_any(&work, &any(own, vec![0; MAX_REPLY_BYTES + 1])),
            Err(Misfit::TooLarge { .. })
        ));
        for wrong in [
            any("google.protobuf.Empty", vec![]),
            any("", vec![]),
            any(own, vec![0xff; 3]),
        ] {
            assert!(matches!(of_any(&work, &wrong), Err(Misfit::Field { .. })));
        }
        assert!(of_any(&work, &any(own, vec![])).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in r#"[\[\]{}":,0-9a-z\\]{0,60}"#) {
            let _ = of_json(&descriptor("evenkeel.saga.v1.GetSagaResponse"), &text);
        }
    }
}
