//! Whether a definition with newer types may take the place of an older one as a revision.

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::check::field_type_name;
use crate::closure::Types;
use crate::definition::Definition;

/// Tells whether `new` is the same definition as `old` with types that read and write the same bytes.
///
/// Fields and enum values may be added; nothing may be removed, renumbered, renamed or given another type, and no
/// field may move into or out of a oneof. Field names count, since requests and replies are stored as JSON.
///
/// # Errors
/// Every difference that forbids it, in words.
pub fn wire_compatible(old: &Definition, new: &Definition) -> Result<(), Vec<String>> {
    let mut differences = Vec::new();
    if old.canonical != new.canonical {
        differences.push("the definition itself differs; it needs a new version".to_owned());
    }
    for (before, after) in old
        .calls()
        .zip(new.calls())
        .filter(|(before, after)| before.name() == after.name())
    {
        for (what, was, is) in [
            ("request", before.request_type(), after.request_type()),
            ("reply", before.reply_type(), after.reply_type()),
        ] {
            if was.full_name() != is.full_name() {
                let path = before.name();
                differences.push(format!(
                    "the {what} of {path} was {} and is {}",
                    was.full_name(),
                    is.full_name()
                ));
            }
        }
    }
    let (old_types, new_types) = (Types::of(old), Types::of(new));
    for (name, before) in &old_types.messages {
        match new_types.messages.get(name) {
            Some(after) => compare_messages(before, after, &mut differences),
            None => differences.push(format!("message {name} is not used any more")),
        }
    }
    for (name, before) in &old_types.enums {
        match new_types.enums.get(name) {
            Some(after) => compare_enums(before, after, &mut differences),
            None => differences.push(format!("enum {name} is not used any more")),
        }
    }
    differences.sort_unstable();
    differences.dedup();
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences)
    }
}

fn compare_messages(before: &MessageDescriptor, after: &MessageDescriptor, differences: &mut Vec<String>) {
    for old in before.fields() {
        let place = old.full_name();
        match after.get_field(old.number()) {
            None => differences.push(format!("field {place} = {} was removed", old.number())),
            Some(new) => compare_fields(&old, &new, differences),
        }
    }
    for new in after.fields() {
        if new.cardinality() == Cardinality::Required && before.get_field(new.number()).is_none() {
            differences.push(format!("field {} was added as required", new.full_name()));
        }
    }
}

fn compare_fields(old: &FieldDescriptor, new: &FieldDescriptor, differences: &mut Vec<String>) {
    let place = old.full_name();
    if old.name() != new.name() || old.json_name() != new.json_name() {
        differences.push(format!(
            "field {place} = {} was renamed to {}",
            old.number(),
            new.name()
        ));
    }
    let (was, is) = (field_type_name(old), field_type_name(new));
    if was != is {
        differences.push(format!("field {place} was {was} and is {is}"));
    }
    let required = |field: &FieldDescriptor| field.cardinality() == Cardinality::Required;
    if required(old) != required(new) {
        differences.push(format!("field {place} changed whether it is required"));
    }
    let oneof = |field: &FieldDescriptor| {
        field
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| oneof.name().to_owned())
    };
    if oneof(old) != oneof(new) {
        differences.push(format!("field {place} moved into or out of a oneof"));
    }
}

fn compare_enums(before: &EnumDescriptor, after: &EnumDescriptor, differences: &mut Vec<String>) {
    for old in before.values() {
        match after.get_value_by_name(old.name()) {
            Some(new) if new.number() == old.number() => {}
            Some(new) => differences.push(format!(
                "enum value {} was {} and is {}",
                old.full_name(),
                old.number(),
                new.number()
            )),
            None => differences.push(format!(
                "enum value {} = {} was removed",
                old.full_name(),
                old.number()
            )),
        }
    }
}
