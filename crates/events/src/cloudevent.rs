//! CloudEvents 1.0 in structured JSON (`application/cloudevents+json`), with the extensions `partitionkey` and
//! `traceparent` (<https://github.com/cloudevents/spec>).

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::{Event, MAX_MESSAGE_BYTES, MAX_TOPIC_BYTES, Received};

/// Content type of a message.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json";

const MAX_ID_BYTES: usize = 200;
const MAX_SOURCE_BYTES: usize = 500;
const MAX_ATTRIBUTES: usize = 50;
const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// Attributes with a meaning of their own; an extension cannot take their place.
pub(crate) const RESERVED: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "traceparent",
    "data",
    "data_base64",
];

/// Why bytes are not a CloudEvent that we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("{0} bytes, more than 1,048,576")]
    TooLarge(usize),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Another version.
    #[error("specversion is not 1.0")]
    Version,
    /// An attribute is absent or not what it must be.
    #[error("attribute {name}: {problem}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many extension attributes, or one that is too long.
    #[error("more than 50 extension attributes, or one of more than 8,192 bytes")]
    Extensions,
}

/// Writes an event as it goes over the wire. `source` is who publishes it, such as `/evenkeel/quota`; `time` is when it
/// became true.
#[must_use]
pub fn encode(event: &Event, source: &str, time: DateTime<Utc>) -> Vec<u8> {
    let mut object = Map::new();
    let mut put = |name: &str, text: &str| {
        object.insert(name.to_owned(), Value::from(text));
    };
    put("specversion", "1.0");
    put("id", &event.id.to_string());
    put("source", source);
    put("type", &event.topic);
    put("time", &time.to_rfc3339_opts(SecondsFormat::Micros, true));
    put("datacontenttype", "application/json");
    put("partitionkey", &event.key);
    if let Some(parent) = &event.traceparent {
        put("traceparent", parent);
    }
    for (name, value) in &event.attributes {
        if !RESERVED.contains(&name.as_str()) {
            put(name, value);
        }
    }
    object.insert("data".to_owned(), event.data.clone());
    Value::Object(object).to_string().into_bytes()
}

/// Reads a message of anybody. Attributes whose names break the rules are left out, as are those that are null.
///
/// # Errors
/// [`DecodeError`] says which rule is broken.
pub fn decode(body: &[u8]) -> Result<Received, DecodeError> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLarge(body.len()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| DecodeError::Json(error.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(DecodeError::NotAnObject);
    };
    if object.get("specversion").and_then(Value::as_str) != Some("1.0") {
        return Err(DecodeError::Version);
    }
    let time = match optional(&mut object, "time")? {
        Some(text) => Some(
            DateTime::parse_from_rfc3339(&text)
                .map_err(|_| attribute("time", "not a time of RFC 3339"))?
                .with_timezone(&Utc),
        ),
        None => None,
    };
    if let Some(kind) = optional(&mut object, "datacontenttype")?
        && !is_json(&kind)
    {
        return Err(attribute("datacontenttype", "not JSON"));
    }
    if object.get("data_base64").is_some_and(|data| !data.is_null()) {
        return Err(attribute("data_base64", "data must be JSON"));
    }
    Ok(Received {
        id: required(&mut object, "id", MAX_ID_BYTES)?,
        source: required(&mut object, "source", MAX_SOURCE_BYTES)?,
        topic: required(&mut object, "type", MAX_TOPIC_BYTES)?,
        key: optional(&mut object, "partitionkey")?,
        time,
        data: object.remove("data").unwrap_or_default(),
        traceparent: optional(&mut object, "traceparent")?,
        attributes: extensions(object)?,
    })
}

const fn attribute(name: &'static str, problem: &'static str) -> DecodeError {
    DecodeError::Attribute { name, problem }
}

fn required(
    object: &mut Map<String, Value>,
    name: &'static str,
    max_bytes: usize,
) -> Result<String, DecodeError> {
    match optional(object, name)? {
        Some(text) if text.is_empty() => Err(attribute(name, "empty")),
        Some(text) if text.len() > max_bytes => Err(attribute(name, "too long")),
        Some(text) => Ok(text),
        None => Err(attribute(name, "absent")),
    }
}

fn optional(object: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, DecodeError> {
    match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        // Postgres keeps no NUL, and nothing else that is readable has one.
        Some(Value::String(text)) if text.contains('\0') => Err(attribute(name, "holds a NUL character")),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(attribute(name, "not a string"))
        }
    }
}

/// Media types of JSON: `…/json` and `…+json`, with or without parameters.
fn is_json(kind: &str) -> bool {
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

fn extensions(object: Map<String, Value>) -> Result<BTreeMap<String, String>, DecodeError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in object {
        let named = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !named || RESERVED.contains(&name.as_str()) {
            continue;
        }
        let text = match value {
            Value::String(text) => text,
            Value::Bool(yes) => yes.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        if attributes.len() >= MAX_ATTRIBUTES || name.len() + text.len() > MAX_ATTRIBUTE_BYTES {
            return Err(DecodeError::Extensions);
        }
        attributes.insert(name, text);
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn read(value: &Value) -> Result<Received, DecodeError> {
        decode(value.to_string().as_bytes())
    }

    fn minimal() -> Value {
        json!({ "specversion": "1.0", "id": "1", "source": "/x", "type": "a.b" })
    }

    #[test]
    fn what_is_written_has_the_form_of_the_standard() {
        let event = Event {
            id: Uuid::nil(),
            topic: "quota.low".to_owned(),
            key: "user_1".to_owned(),
            data: json!({ "available": 3 }),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            attributes: [("sagaid".to_owned(), "saga_1".to_owned())].into(),
        };
        let time = "2026-11-21T03:00:00.123456Z".parse().unwrap();
        let written: Value = serde_json::from_slice(&encode(&event, "/evenkeel/quota", time)).unwrap();
        assert_eq!(
            written,
            json!({
                "specversion": "1.0",
                "id": "00000000-0000-0000-0000-000000000000",
                "source": "/evenkeel/quota",
                "type": "quota.low",
                "time": "2026-11-21T03:00:00.123456Z",
                "datacontenttype": "application/json",
                "partitionkey": "user_1",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "sagaid": "saga_1",
                "data": { "available": 3 },
            })
        );
    }

    #[test]
    fn the_least_that_is_allowed_is_read() {
        let received = read(&minimal()).unwrap();
        assert_eq!((received.id.as_str(), received.topic.as_str()), ("1", "a.b"));
        assert_eq!(
            (received.key, received.time, received.data),
            (None, None, Value::Null)
        );
    }

    #[test]
    fn each_broken_rule_is_named() {
        let with = |name: &str, value: Value| {
            let mut event = minimal();
            event[name] = value;
            read(&event).unwrap_err().to_string()
        };
        assert_eq!(
            decode(b"{"),
            Err(DecodeError::Json(
                "EOF while parsing an object at line 1 column 1".to_owned()
            ))
        );
        assert_eq!(
            decode(b"\xff").map_err(|e| matches!(e, DecodeError::Json(_))),
            Err(true)
        );
        assert_eq!(decode(b"[]"), Err(DecodeError::NotAnObject));
        assert_eq!(
            decode(&vec![b' '; MAX_MESSAGE_BYTES + 1]),
            Err(DecodeError::TooLarge(MAX_MESSAGE_BYTES + 1))
        );
        assert_eq!(with("specversion", json!("0.3")), "specversion is not 1.0");
        assert_eq!(with("id", json!(7)), "attribute id: not a string");
        assert_eq!(with("id", json!("")), "attribute id: empty");
        assert_eq!(with("id", json!("a\0b")), "attribute id: holds a NUL character");
        assert_eq!(with("source", Value::Null), "attribute source: absent");
        assert_eq!(with("type", json!("x".repeat(201))), "attribute type: too long");
        assert_eq!(
            with("time", json!("yesterday")),
            "attribute time: not a time of RFC 3339"
        );
        assert_eq!(
            with("datacontenttype", json!("text/xml")),
            "attribute datacontenttype: not JSON"
        );
        assert_eq!(
            with("data_base64", json!("AA==")),
            "attribute data_base64: data must be JSON"
        );
        assert!(with("long", json!("x".repeat(9000))).contains("8,192"));
    }

    #[test]
    fn extensions_become_text_and_odd_names_are_left_out() {
        let mut event = minimal();
        for (name, value) in [
            ("flag", json!(true)),
            ("count", json!(3)),
            ("nothing", Value::Null),
            ("Odd_Name", json!("x")),
            ("dataschema", json!("x")),
        ] {
            event[name] = value;
        }
        let expected = [("count", "3"), ("flag", "true")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(read(&event).unwrap().attributes, expected.into());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_object_makes_the_parser_panic(
            fields in prop::collection::btree_map(
                prop_oneof![prop::sample::select(RESERVED.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"],
                json_value(),
                0..12,
            )
        ) {
            let mut object: Map<String, Value> = fields.into_iter().collect();
            object.insert("specversion".to_owned(), json!("1.0"));
            let _ = read(&Value::Object(object));
        }

        #[test]
        fn what_is_written_is_read_back(
            topic in "[a-z]{1,8}\\.[a-z]{1,8}",
            key in "[^\\x00]{1,20}",
            data in json_value(),
            attributes in prop::collection::btree_map("x[a-z0-9]{1,10}", "[^\\x00]{0,20}", 0..5),
            micros in 0i64..4_000_000_000_000_000,
        ) {
            let event = Event { id: Uuid::now_v7(), topic, key, data, traceparent: None, attributes };
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            let received = decode(&encode(&event, "/evenkeel/x", time)).unwrap();
            prop_assert_eq!(received.id, event.id.to_string());
            prop_assert_eq!(received.topic, event.topic);
            prop_assert_eq!(received.key, Some(event.key));
            prop_assert_eq!(received.data, event.data);
            prop_assert_eq!(received.attributes, event.attributes);
            prop_assert_eq!(received.time, Some(time));
        }
    }
}
