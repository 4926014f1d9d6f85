//! Messages and enums as schemas.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::Version;
use super::operation::field_comments;
use crate::json::short_name;

/// Collects the schemas that are referred to.
pub(super) struct Schemas {
    version: Version,
    found: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            version,
            found: BTreeMap::new(),
        }
    }

    pub(super) fn finish(self) -> Map<String, Value> {
        self.found.into_iter().collect()
    }

    /// Schema of a message that comes in: unknown fields are refused. Fields that the path fills are left out.
    pub(super) fn request(&mut self, message: &MessageDescriptor, bound: &[&str]) -> Value {
        if bound.is_empty() {
            return self.named(message, true);
        }
        self.object(message, true, bound)
    }

    /// Schema of a message that goes out.
    pub(super) fn response(&mut self, message: &MessageDescriptor) -> Value {
        self.named(message, false)
    }

    /// Schema of a field with its repetition.
    pub(super) fn field(&mut self, field: &FieldDescriptor, incoming: bool) -> Value {
        if field.is_map() {
            let kind = field.kind();
            let values = kind
                .as_message()
                .map(|entry| entry.map_entry_value_field().kind());
            let values = values.map_or_else(|| json!({}), |kind| self.kind(&kind, incoming));
            return json!({"type": "object", "additionalProperties": values});
        }
        let one = self.kind(&field.kind(), incoming);
        if field.is_list() {
            json!({"type": "array", "items": one})
        } else {
            one
        }
    }

    /// Schema of a single value that comes in.
    pub(super) fn of(&mut self, kind: &Kind) -> Value {
        self.kind(kind, true)
    }

    fn kind(&mut self, kind: &Kind, incoming: bool) -> Value {
        match kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "integer", "format": "int64"}),
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
            Kind::Enum(enumeration) => self.enumeration(enumeration),
            Kind::Message(message) => match well_known(message, self.version) {
                Some(schema) => schema,
                None => self.named(message, incoming),
            },
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) -> Value {
        let name = enumeration.name().to_owned();
        self.found.entry(name.clone()).or_insert_with(|| {
            let values: Vec<String> = enumeration
                .values()
                .map(|value| short_name(enumeration, value.name()).to_owned())
                .collect();
            json!({"type": "string", "enum": values})
        });
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Refers to a message. The same message has a schema for each direction if both are used: what comes in may leave fields
    /// out and may not add any, what goes out has all of them.
    fn named(&mut self, message: &MessageDescriptor, incoming: bool) -> Value {
        let name = if incoming && !message.name().ends_with("Request") {
            format!("{}Input", message.name())
        } else {
            message.name().to_owned()
        };
        if !self.found.contains_key(&name) {
            // Entered before it is filled: a message may contain itself.
            self.found.insert(name.clone(), Value::Null);
            let schema = self.object(message, incoming, &[]);
            self.found.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(&mut self, message: &MessageDescriptor, incoming: bool, without: &[&str]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(|field| !without.contains(&field.name())) {
            let schema = self.field(&field, incoming);
            let text = field_comments(&field);
            let schema = self.described(schema, &text);
            if !incoming && !field.supports_presence() {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut object = json!({"type": "object", "properties": properties});
        if incoming {
            object["additionalProperties"] = false.into();
        }
        if !required.is_empty() {
            object["required"] = required.into();
        }
        object
    }

    /// Adds a description. In 3.0 nothing may stand beside a reference.
    fn described(&self, mut schema: Value, text: &str) -> Value {
        if text.is_empty() {
            return schema;
        }
        if schema.get("$ref").is_some() && self.version == Version::V3_0 {
            return json!({"allOf": [schema], "description": text});
        }
        schema["description"] = text.into();
        schema
    }
}

fn well_known(message: &MessageDescriptor, version: Version) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration" => {
            json!({"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"})
        }
        "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Struct" | "google.protobuf.Any" => {
            json!({"type": "object", "additionalProperties": true})
        }
        "google.protobuf.ListValue" => json!({"type": "array", "items": {}}),
        "google.protobuf.Value" => json!({}),
        "google.protobuf.Empty" => json!({"type": "object", "additionalProperties": false}),
        name if name.starts_with("google.protobuf.") => match version {
            Version::V3_1 => json!({"type": ["string", "number", "boolean", "null"]}),
            Version::V3_0 => {
                json!({"nullable": true, "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]})
            }
        },
        _ => return None,
    })
}
