//! Protobuf messages as JSON, in the conventions of the outside API.

mod read;
mod strict;
mod write;

pub(crate) use read::{FieldPath, Given, convert, message};
pub(crate) use strict::parse;
pub use write::value;

/// Returns an enum value's name without the prefix of its type: `PENDING` for `TASK_STATE_PENDING` of `TaskState`.
pub(crate) fn short_name<'n>(enumeration: &prost_reflect::EnumDescriptor, name: &'n str) -> &'n str {
    let mut prefix = String::new();
    for c in enumeration.name().chars() {
        if c.is_ascii_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    match name.strip_prefix(prefix.as_str()) {
        // What is left has to be a name.
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => rest,
        Some(_) | None => name,
    }
}
