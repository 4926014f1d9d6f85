//! Messages and enums as JSON Schema.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::comments::Comments;
use crate::enums::{self, NULL_VALUE};
use crate::well_known::WellKnown;

/// Name of the schema of errors; no message may take it.
pub(super) const PROBLEM: &str = "Problem";

/// The types that a document refers to.
#[derive(Default)]
pub(super) struct Types {
    /// By full name; true if a request holds it, so that it has no other fields.
    messages: BTreeMap<String, (MessageDescriptor, bool)>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Types {
    /// Adds what a field holds, and what that holds.
    pub(super) fn add_field(&mut self, field: &FieldDescriptor, request: bool) {
        self.add_kind(&field.kind(), request);
    }

    /// Adds a message, and what it holds.
    pub(super) fn add_message(&mut self, message: &MessageDescriptor, request: bool) {
        if WellKnown::of(message).is_some() {
            return;
        }
        if message.is_map_entry() {
            return self.add_kind(&message.map_entry_value_field().kind(), request);
        }
        let known = self.messages.get(message.full_name()).map(|(_, closed)| *closed);
        // Once more, if only replies were known to hold it.
        if known.is_none_or(|closed| request && !closed) {
            self.messages
                .insert(message.full_name().to_owned(), (message.clone(), request));
            message.fields().for_each(|field| self.add_field(&field, request));
        }
    }

    fn add_kind(&mut self, kind: &Kind, request: bool) {
        if let Some(message) = kind.as_message() {
            self.add_message(message, request);
        } else if let Some(kind) = kind.as_enum().filter(|kind| kind.full_name() != NULL_VALUE) {
            self.enums.insert(kind.full_name().to_owned(), kind.clone());
        }
    }

    /// Gives each type a name: without its package, if no other has that.
    pub(super) fn names(&self) -> HashMap<String, String> {
        let packages = self
            .messages
            .values()
            .map(|(message, _)| (message.full_name(), message.package_name()));
        let packages = packages.chain(
            self.enums
                .values()
                .map(|kind| (kind.full_name(), kind.package_name())),
        );
        let short = |full: &str, package: &str| full[package.len()..].trim_start_matches('.').to_owned();
        let mut uses = HashMap::from([(PROBLEM.to_owned(), 1)]);
        for (full, package) in packages.clone() {
            *uses.entry(short(full, package)).or_insert(0) += 1;
        }
        let name = |(full, package): (&str, &str)| {
            let short = short(full, package);
            let name = if uses[&short] == 1 && short != PROBLEM {
                short
            } else {
                full.to_owned()
            };
            (full.to_owned(), name)
        };
        packages.map(name).collect()
    }
}

/// Writes schemas of types that have their names.
pub(super) struct Schemas<'a> {
    pub(super) names: HashMap<String, String>,
    pub(super) comments: &'a Comments,
}

impl Schemas<'_> {
    /// Writes the schema of every type.
    pub(super) fn all(&self, types: &Types) -> Map<String, Json> {
        let messages = types.messages.values().map(|(message, closed)| {
            (
                self.names[message.full_name()].clone(),
                self.object(message, *closed, |_| true),
            )
        });
        let enums = types
            .enums
            .values()
            .map(|kind| (self.names[kind.full_name()].clone(), self.enumeration(kind)));
        messages.chain(enums).collect()
    }

    /// Writes a message with those fields that are to be shown.
    pub(super) fn object(
        &self,
        message: &MessageDescriptor,
        closed: bool,
        shown: impl Fn(&FieldDescriptor) -> bool,
    ) -> Json {
        let fields = message.fields().filter(|field| shown(field));
        let properties: Map<_, _> = fields
            .map(|field| (field.json_name().to_owned(), self.field(&field)))
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        let comment = self
            .comments
            .of(&message.parent_file(), message.path())
            .map(str::to_owned);
        let paragraphs: Vec<_> = comment.into_iter().chain(choices(message)).collect();
        if !paragraphs.is_empty() {
            schema["description"] = paragraphs.join("\n\n").into();
        }
        if closed {
            schema["additionalProperties"] = false.into();
        }
        schema
    }

    /// Writes a field, with its comment.
    pub(super) fn field(&self, field: &FieldDescriptor) -> Json {
        let kind = field.kind();
        let mut schema = match kind.as_message().filter(|message| message.is_map_entry()) {
            Some(entry) => {
                json!({"type": "object", "additionalProperties": self.kind(&entry.map_entry_value_field().kind())})
            }
            None if field.is_list() => json!({"type": "array", "items": self.kind(&kind)}),
            None => self.kind(&kind),
        };
        if let Some(comment) = self.comments.of(&field.parent_file(), field.path()) {
            schema["description"] = comment.into();
        }
        schema
    }

    /// Writes a reference to a message, or the schema of what has a form of its own.
    pub(super) fn message(&self, message: &MessageDescriptor) -> Json {
        match WellKnown::of(message) {
            None => json!({"$ref": format!("#/components/schemas/{}", self.names[message.full_name()])}),
            Some(WellKnown::Timestamp) => json!({"type": "string", "format": "date-time"}),
            Some(WellKnown::Duration) => {
                json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["1.5s"]})
            }
            Some(WellKnown::FieldMask) => json!({"type": "string"}),
            Some(WellKnown::Wrapper) => message
                .get_field_by_name("value")
                .map_or_else(|| json!({}), |field| self.kind(&field.kind())),
            Some(WellKnown::Any) => {
                json!({"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]})
            }
            Some(WellKnown::Value) => json!({}),
            Some(WellKnown::List) => json!({"type": "array", "items": {}}),
            Some(WellKnown::Struct) => json!({"type": "object"}),
        }
    }

    pub(super) fn kind(&self, kind: &Kind) -> Json {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) if kind.full_name() == NULL_VALUE => json!({"type": "null"}),
            Kind::Enum(kind) => {
                json!({"$ref": format!("#/components/schemas/{}", self.names[kind.full_name()])})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX})
            }
        }
    }

    fn enumeration(&self, kind: &EnumDescriptor) -> Json {
        let names: Vec<_> = enums::short_names(kind).collect();
        let comment = self
            .comments
            .of(&kind.parent_file(), kind.path())
            .map(str::to_owned);
        let values = kind.values().zip(&names).filter_map(|(value, name)| {
            let comment = self
                .comments
                .of(&value.parent_enum().parent_file(), value.path())?;
            Some(format!("- `{name}`: {comment}"))
        });
        let values = values.collect::<Vec<_>>().join("\n");
        let paragraphs: Vec<_> = comment
            .into_iter()
            .chain((!values.is_empty()).then_some(values))
            .collect();
        let mut schema = json!({"type": "string", "enum": names});
        if !paragraphs.is_empty() {
            schema["description"] = paragraphs.join("\n\n").into();
        }
        schema
    }
}

/// Says which fields exclude each other.
fn choices(message: &MessageDescriptor) -> impl Iterator<Item = String> {
    let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic());
    let choice = |oneof: prost_reflect::OneofDescriptor| {
        let names: Vec<_> = oneof
            .fields()
            .map(|field| format!("`{}`", field.json_name()))
            .collect();
        format!("At most one of {}.", names.join(", "))
    };
    oneofs.map(choice).collect::<Vec<_>>().into_iter()
}
