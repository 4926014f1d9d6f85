//! Query parameters: `pageSize=10&states=PENDING&states=FAILED&filter.name=x`.

use std::collections::HashSet;

use prost_reflect::{DynamicMessage, FieldDescriptor};

use crate::bad_request::{At, BadRequest, shown};
use crate::binding::{Binding, is_plain, structured};
use crate::decode::{self, field_by_key};
use crate::percent::{Place, decode};
use crate::route::{dotted, set_in};

/// Fills the message from a raw query. Values of one key that is a repeated field come one by one; empty pieces between
/// ampersands say nothing.
pub(crate) fn apply(binding: &Binding, query: &str, message: &mut DynamicMessage) -> Result<(), BadRequest> {
    let mut seen = HashSet::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (key, text) = piece.split_once('=').unwrap_or((piece, ""));
        let key = decode(key, Place::Query)
            .map_err(|error| BadRequest::content(format!("a key of the query is malformed: {error}")))?;
        let at = At::Name(&At::Root, &key);
        let text = decode(text, Place::Query).map_err(|error| at.bad(error.to_string()))?;
        let path = resolve(binding, &key, at)?;
        // The key may be in the other spelling; errors have the one that is documented.
        let name = dotted(&path);
        let at = At::Name(&At::Root, &name);
        if binding.fills(&path) {
            return Err(at.bad("it is not a query parameter here; the path or the body has it"));
        }
        let Some(field) = path.last() else { continue };
        let kind = field.kind();
        if field.is_map() || !is_plain(&kind) {
            return Err(at.bad("a query cannot hold this field"));
        }
        let value = decode::element(&kind, &decode::plain(&kind, &text), at, path.len())?;
        if field.is_list() {
            push(message, &path, value, at)?;
        } else if seen.insert(name.clone()) {
            set_in(message, &path, value, at)?;
        } else {
            return Err(at.bad(format!("it is given twice, the second time as {}", shown(&text))));
        }
    }
    Ok(())
}

/// Follows a dotted key, in either spelling of each name.
fn resolve(binding: &Binding, key: &str, at: At<'_>) -> Result<Vec<FieldDescriptor>, BadRequest> {
    let mut message = Some(binding.method.input());
    let mut path: Vec<FieldDescriptor> = Vec::new();
    for name in key.split('.') {
        let field = message.as_ref().and_then(|message| field_by_key(message, name));
        let field = field.ok_or_else(|| at.bad("there is no such query parameter"))?;
        message = structured(&field);
        path.push(field);
    }
    Ok(path)
}

/// Appends to a repeated field.
fn push(
    message: &mut DynamicMessage,
    path: &[FieldDescriptor],
    value: prost_reflect::Value,
    at: At<'_>,
) -> Result<(), BadRequest> {
    match path {
        [] => Ok(()),
        [field] => {
            message
                .get_field_mut(field)
                .as_list_mut()
                .expect("the field is repeated")
                .push(value);
            Ok(())
        }
        [field, rest @ ..] => {
            decode::distinct(message, field, at)?;
            push(
                message
                    .get_field_mut(field)
                    .as_message_mut()
                    .expect("only messages are on the way"),
                rest,
                value,
                at,
            )
        }
    }
}
