//! Messages that JSON writes in a form of their own.

use std::collections::HashMap;

use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value};
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as TextError, StrDeserializer};

use super::scalar::{expected, scalar, text, without_nul};
use super::{message, nested};
use crate::bad_request::{At, BadRequest, shown};
use crate::json::Json;
use crate::well_known::WellKnown;

/// Reads a message that has a form of its own.
pub(super) fn well_known(
    form: WellKnown,
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    match form {
        WellKnown::Timestamp => textual(descriptor, json, at, "a time as in RFC 3339", is_time),
        WellKnown::Duration => textual(
            descriptor,
            json,
            at,
            "a duration in seconds, for example \"1.5s\"",
            is_duration,
        ),
        WellKnown::FieldMask => textual(descriptor, json, at, "a list of fields with commas", |_| true),
        WellKnown::Wrapper => {
            let field = field(descriptor, "value");
            let mut wrapper = DynamicMessage::new(descriptor.clone());
            wrapper.set_field(&field, scalar(&field.kind(), json, at)?);
            Ok(wrapper)
        }
        WellKnown::Any => any(descriptor, json, at, depth),
        WellKnown::Value => value(descriptor, json, at, depth),
        WellKnown::List => list(descriptor, json, at, depth),
        WellKnown::Struct => structure(descriptor, json, at, depth),
    }
}

/// Returns the kind inside of a wrapper such as `google.protobuf.Int64Value`.
pub(crate) fn wrapped(descriptor: &MessageDescriptor) -> Option<Kind> {
    match WellKnown::of(descriptor) {
        Some(WellKnown::Wrapper) => Some(field(descriptor, "value").kind()),
        _ => None,
    }
}

/// Reads a message that is one string. What the text may look like is checked here, because prost-types also takes
/// dates without a time and times without a zone; what it means is prost-reflect's.
fn textual(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    what: &str,
    looks_right: fn(&str) -> bool,
) -> Result<DynamicMessage, BadRequest> {
    let text = text(json, at)?;
    let reader: StrDeserializer<'_, TextError> = text.into_deserializer();
    DynamicMessage::deserialize(descriptor.clone(), reader)
        .ok()
        .filter(|_| looks_right(text))
        .ok_or_else(|| expected(what, json, at))
}

/// `2026-01-31T08:00:00Z`, with up to nine digits of a fraction, or with an offset instead of Z.
fn is_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let Some((head, tail)) = text.split_at_checked(SHAPE.len()) else {
        return false;
    };
    let tail = tail.strip_prefix('.').map_or(Some(tail), without_fraction);
    has_shape(head, SHAPE)
        && tail.is_some_and(|zone| zone == "Z" || has_shape(zone, b"+00:00") || has_shape(zone, b"-00:00"))
}

/// `3s`, `-3.000000001s`.
fn is_duration(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let unit = behind.strip_prefix('.').map_or(Some(behind), without_fraction);
    behind.len() < digits.len() && unit == Some("s")
}

/// Cuts off one to nine digits.
fn without_fraction(text: &str) -> Option<&str> {
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (1..=9).contains(&(text.len() - behind.len())).then_some(behind)
}

/// True if `text` is `shape` with any digits where it has zeros.
fn has_shape(text: &str, shape: &[u8]) -> bool {
    let fits = |(found, wanted): (u8, &u8)| {
        if *wanted == b'0' {
            found.is_ascii_digit()
        } else {
            found == *wanted
        }
    };
    text.len() == shape.len() && text.bytes().zip(shape).all(fits)
}

fn any(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    let Json::Object(entries) = json else {
        return Err(expected("an object with \"@type\"", json, at));
    };
    let (types, rest): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|(key, _)| key == "@type");
    let [(_, url)] = types.as_slice() else {
        return Err(at.bad("an object with \"@type\" is expected"));
    };
    let url = text(url, At::Name(&at, "@type"))?;
    let inner = url
        .rsplit_once('/')
        .and_then(|(_, name)| descriptor.parent_pool().get_message_by_name(name))
        .ok_or_else(|| At::Name(&at, "@type").bad(format!("there is no type {}", shown(url))))?;
    // The contents are bytes of their own on the wire, but whoever reads them does so from within.
    let payload = if WellKnown::of(&inner).is_some() {
        match rest.as_slice() {
            [(key, value)] if key == "value" => {
                message(&inner, value, At::Name(&at, "value"), nested(depth, at)?)?
            }
            _ => return Err(at.bad("\"value\" and nothing else is expected beside \"@type\"")),
        }
    } else {
        message(&inner, &Json::Object(rest), at, nested(depth, at)?)?
    };
    let mut any = DynamicMessage::new(descriptor.clone());
    any.set_field_by_name("type_url", Value::String(url.to_owned()));
    any.set_field_by_name("value", Value::Bytes(payload.encode_to_vec().into()));
    Ok(any)
}

fn value(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    let (name, content) = match json {
        Json::Null => ("null_value", Value::EnumNumber(0)),
        Json::Bool(value) => ("bool_value", Value::Bool(*value)),
        Json::Number(_) => ("number_value", scalar(&Kind::Double, json, at)?),
        Json::String(text) => ("string_value", Value::String(without_nul(text, at)?.to_owned())),
        Json::Array(_) => (
            "list_value",
            Value::Message(inner(descriptor, "list_value", json, at, depth)?),
        ),
        Json::Object(_) => (
            "struct_value",
            Value::Message(inner(descriptor, "struct_value", json, at, depth)?),
        ),
    };
    let mut value = DynamicMessage::new(descriptor.clone());
    value.set_field_by_name(name, content);
    Ok(value)
}

fn list(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    let Json::Array(elements) = json else {
        return Err(expected("an array", json, at));
    };
    let values: Result<Vec<_>, _> = elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            inner(descriptor, "values", element, At::Index(&at, index), depth).map(Value::Message)
        })
        .collect();
    let mut list = DynamicMessage::new(descriptor.clone());
    list.set_field_by_name("values", Value::List(values?));
    Ok(list)
}

fn structure(
    descriptor: &MessageDescriptor,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    let Json::Object(entries) = json else {
        return Err(expected("an object", json, at));
    };
    let fields = field(descriptor, "fields");
    let Kind::Message(entry) = fields.kind() else {
        unreachable!("a map field has entries")
    };
    // On the wire a map entry is a message.
    let entry_depth = nested(depth, at)?;
    let mut map = HashMap::with_capacity(entries.len());
    for (key, json) in entries {
        let at = At::Name(&at, key);
        let value = inner(&entry, "value", json, at, entry_depth)?;
        map.insert(
            MapKey::String(without_nul(key, at)?.to_owned()),
            Value::Message(value),
        );
    }
    let mut structure = DynamicMessage::new(descriptor.clone());
    structure.set_field(&fields, Value::Map(map));
    Ok(structure)
}

/// Reads the message that is in a field of a well-known type.
fn inner(
    descriptor: &MessageDescriptor,
    name: &str,
    json: &Json<'_>,
    at: At<'_>,
    depth: usize,
) -> Result<DynamicMessage, BadRequest> {
    let Kind::Message(inner) = field(descriptor, name).kind() else {
        unreachable!(
            "google/protobuf/ makes {name} of {} a message",
            descriptor.full_name()
        )
    };
    message(&inner, json, at, nested(depth, at)?)
}

fn field(descriptor: &MessageDescriptor, name: &str) -> prost_reflect::FieldDescriptor {
    descriptor
        .get_field_by_name(name)
        .unwrap_or_else(|| unreachable!("google/protobuf/ gives {} a field {name}", descriptor.full_name()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-01-31T08:00:00Z", true)]
    #[case("2026-01-31T08:00:00.123456789+08:00", true)]
    #[case("2026-01-31T08:00:00-00:30", true)]
    #[case("2026-01-31", false)]
    #[case("2026-01-31T08:00:00", false)]
    #[case("2026-01-31 08:00:00Z", false)]
    #[case("2026-01-31t08:00:00z", false)]
    #[case("2026-01-31T08:00:00.Z", false)]
    #[case("2026-01-31T08:00:00.0123456789Z", false)]
    #[case("2026-01-31T08:00:00+0800", false)]
    #[case("+12026-01-31T08:00:00Z", false)]
    #[case("2026-01-31T08:00:0é", false)]
    fn times_are_written_as_in_rfc_3339(#[case] text: &str, #[case] right: bool) {
        assert_eq!(is_time(text), right);
    }

    #[rstest]
    #[case("1s", true)]
    #[case("-1.5s", true)]
    #[case("0.000000001s", true)]
    #[case("1", false)]
    #[case(".5s", false)]
    #[case("1.s", false)]
    #[case("s", false)]
    #[case("1m", false)]
    #[case("1.0000000001s", false)]
    fn durations_are_written_in_seconds(#[case] text: &str, #[case] right: bool) {
        assert_eq!(is_duration(text), right);
    }
}
