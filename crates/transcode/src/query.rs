//! Values from the path and the query.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value as Field};
use serde_json::Value;

use crate::BadRequest;
use crate::json::{FieldPath, Given, convert};

/// Most parameters of a query, and levels of a field path.
const MAX_PARAMETERS: usize = 200;
const MAX_LEVELS: usize = 8;

/// Decodes `%XX`; `None` if it is not that, or not UTF-8. In queries a plus is a space.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads a query into names and values.
pub(crate) fn parameters(query: &str) -> Result<Vec<(String, String)>, BadRequest> {
    let mut found = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if found.len() == MAX_PARAMETERS {
            return Err(bad(&format!(
                "the query has more than {MAX_PARAMETERS} parameters"
            )));
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decoded = decode(name, true).zip(decode(value, true));
        found.push(decoded.ok_or_else(|| bad("the query is not UTF-8 in percent encoding"))?);
    }
    Ok(found)
}

fn bad(message: &str) -> BadRequest {
    BadRequest {
        reason: rpc::error::Reason::InvalidArgument,
        message: message.to_owned(),
        field: None,
    }
}

/// Finds a field by either spelling.
fn field_of(message: &DynamicMessage, name: &str) -> Option<FieldDescriptor> {
    use prost_reflect::ReflectMessage as _;
    let descriptor = message.descriptor();
    descriptor
        .get_field_by_json_name(name)
        .or_else(|| descriptor.get_field_by_name(name))
}

/// Sets a field from its text. A field that is not repeated may be set once; `shown` is its name for people.
pub(crate) fn set(
    message: &mut DynamicMessage,
    names: &[&str],
    text: String,
    shown: &str,
) -> Result<(), BadRequest> {
    let path = FieldPath::ROOT.then(shown);
    let unknown = || BadRequest::field(shown, "is not known");
    let (Some((name, deeper)), true) = (names.split_first(), names.len() <= MAX_LEVELS) else {
        return Err(unknown());
    };
    let field = field_of(message, name).ok_or_else(unknown)?;
    if !deeper.is_empty() {
        let kind = field.kind();
        let ours = kind
            .as_message()
            .is_some_and(|inner| !inner.full_name().starts_with("google.protobuf."));
        if !ours || field.is_list() || field.is_map() {
            return Err(unknown());
        }
        let Field::Message(inner) = message.get_field_mut(&field) else {
            return Err(unknown());
        };
        return set(inner, deeper, text, shown);
    }
    if field.is_map() {
        return Err(BadRequest::field(shown, "can only be given in a body"));
    }
    let kind = field.kind();
    // Times, durations and wrappers have a text; other messages do not.
    let value = match kind.as_message() {
        Some(inner) if inner.full_name().starts_with("google.protobuf.") => wrapped(&kind, text, &path)?,
        Some(_) => return Err(BadRequest::field(shown, "can only be given in a body")),
        None => convert(&kind, Value::String(text), Given::Text, &path)?,
    };
    if field.is_list() {
        if let Field::List(items) = message.get_field_mut(&field) {
            items.push(value);
        }
        return Ok(());
    }
    if let Some(oneof) = field.containing_oneof()
        && let Some(other) = oneof
            .fields()
            .find(|other| *other != field && message.has_field(other))
    {
        return Err(BadRequest::field(
            shown,
            &format!("and {} exclude each other", other.json_name()),
        ));
    }
    message.set_field(&field, value);
    Ok(())
}

/// Reads a text as a wrapped scalar: wrappers of numbers and booleans take JSON's own form.
fn wrapped(kind: &Kind, text: String, path: &FieldPath<'_>) -> Result<Field, BadRequest> {
    let as_text = convert(kind, Value::String(text.clone()), Given::Text, path);
    as_text.or_else(|error| match serde_json::from_str::<Value>(&text) {
        Ok(plain @ (Value::Bool(_) | Value::Number(_))) => convert(kind, plain, Given::Json, path),
        Ok(_) | Err(_) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_encoding_is_strict() {
        assert_eq!(decode("a%2Fb+c", false).as_deref(), Some("a/b+c"));
        assert_eq!(decode("a+b%20c", true).as_deref(), Some("a b c"));
        for wrong in ["%", "%2", "%zz", "%ff", "%e4%b8"] {
            assert_eq!(decode(wrong, true), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(query in "\\PC{0,60}") {
            let _ = parameters(&query);
        }
    }
}
