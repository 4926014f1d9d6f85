//! From messages to JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};

use crate::enums::{self, NULL_VALUE};
use crate::well_known::WellKnown;

/// Most `Any`s inside of each other. Their contents are read one by one, so that prost's own bound does not count.
const MAX_ANYS: usize = 4;

/// A message that JSON cannot say: a time or duration out of range, an `Any` of unknown type or with damaged contents,
/// a number that is not finite in a `google.protobuf.Value`. A defect of the service that sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {message} cannot be written as JSON: {detail}")]
pub struct Unwritable {
    message: String,
    detail: String,
}

/// Writes a message as this platform's JSON; see the crate's root for its rules. Equal messages give equal texts.
///
/// # Errors
/// See [`Unwritable`].
pub fn to_json(message: &DynamicMessage) -> Result<Vec<u8>, Unwritable> {
    let mut writer = Writer::default();
    writer.message(message)?;
    Ok(writer.out)
}

/// Writes one field of a message as the whole text; `null` if it is absent.
pub(crate) fn field_to_json(
    message: &DynamicMessage,
    field: &FieldDescriptor,
) -> Result<Vec<u8>, Unwritable> {
    if field.supports_presence() && !message.has_field(field) {
        return Ok(b"null".to_vec());
    }
    let mut writer = Writer::default();
    writer.field(field, &message.get_field(field))?;
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// `Any`s around what is being written.
    anys: usize,
}

impl Writer {
    fn message(&mut self, message: &DynamicMessage) -> Result<(), Unwritable> {
        if let Some(form) = WellKnown::of(&message.descriptor()) {
            return self.well_known(form, message);
        }
        self.out.push(b'{');
        self.members(message, true)?;
        self.out.push(b'}');
        Ok(())
    }

    /// Writes what is between the braces of an object: the fields that are set, and those that always have a value.
    fn members(&mut self, message: &DynamicMessage, mut first: bool) -> Result<(), Unwritable> {
        for field in message.descriptor().fields() {
            if field.supports_presence() && !message.has_field(&field) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.string(field.json_name());
            self.out.push(b':');
            self.field(&field, &message.get_field(&field))?;
        }
        Ok(())
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) -> Result<(), Unwritable> {
        let kind = field.kind();
        match (value, &kind) {
            (Value::Map(entries), Kind::Message(entry)) => {
                self.map(&entry.map_entry_value_field().kind(), entries)
            }
            (Value::List(elements), kind) => self.list(kind, elements),
            (single, kind) => self.value(kind, single),
        }
    }

    fn map(&mut self, kind: &Kind, entries: &HashMap<MapKey, Value>) -> Result<(), Unwritable> {
        // A hash map has no order of its own; equal messages give equal texts.
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.out.push(b'{');
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.string(&key_text(key));
            self.out.push(b':');
            self.value(kind, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn list(&mut self, kind: &Kind, elements: &[Value]) -> Result<(), Unwritable> {
        self.out.push(b'[');
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(kind, element)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn value(&mut self, kind: &Kind, value: &Value) -> Result<(), Unwritable> {
        match value {
            Value::Bool(value) => self.text(value),
            Value::I32(value) => self.text(value),
            Value::I64(value) => self.text(value),
            Value::U32(value) => self.text(value),
            Value::U64(value) => self.text(value),
            Value::F32(value) => self.float(f64::from(*value), value),
            Value::F64(value) => self.float(*value, value),
            Value::String(text) => self.string(text),
            Value::Bytes(bytes) => self.string(&STANDARD.encode(bytes)),
            Value::EnumNumber(number) => self.enumeration(kind, *number),
            Value::Message(message) => self.message(message)?,
            Value::List(_) | Value::Map(_) => unreachable!("protobuf has no lists of lists"),
        }
        Ok(())
    }

    /// Writes the outside name of a value, or the number of one that is not in these descriptors.
    fn enumeration(&mut self, kind: &Kind, number: i32) {
        let known = kind
            .as_enum()
            .and_then(|kind| Some((kind, kind.get_value(number)?)));
        match known {
            Some((kind, _)) if kind.full_name() == NULL_VALUE => self.text("null"),
            Some((kind, value)) => self.string(enums::short_name(kind, value.name())),
            None => self.text(number),
        }
    }

    /// Writes a number: integers without a fraction, so that what came as 1 does not leave as 1.0. `narrow` is the number
    /// in its own width, which has the shortest text.
    fn float(&mut self, value: f64, narrow: impl serde::Serialize) {
        /// Below it every integer is a double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.is_nan() {
            self.string("NaN");
        } else if value.is_infinite() {
            self.string(if value.is_sign_positive() {
                "Infinity"
            } else {
                "-Infinity"
            });
        } else if value.fract() == 0.0 && value.abs() < EXACT {
            // Minus zero keeps its sign here.
            self.text(value);
        } else {
            serde_json::to_writer(&mut self.out, &narrow).expect("a Vec takes all bytes");
        }
    }

    fn well_known(&mut self, form: WellKnown, message: &DynamicMessage) -> Result<(), Unwritable> {
        match form {
            WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask => {
                let text = serde_json::to_string(message).map_err(|error| unwritable(message, error))?;
                self.text(text);
                Ok(())
            }
            WellKnown::Wrapper => self.content(message, "value"),
            WellKnown::List => self.content(message, "values"),
            WellKnown::Struct => self.content(message, "fields"),
            WellKnown::Any => self.any(message),
            WellKnown::Value => self.dynamic(message),
        }
    }

    /// Writes a `google.protobuf.Value`. One without any content is null.
    fn dynamic(&mut self, message: &DynamicMessage) -> Result<(), Unwritable> {
        match message.fields().next() {
            Some((_, Value::F64(number))) if !number.is_finite() => {
                Err(unwritable(message, "a number is not finite"))
            }
            Some((field, content)) => self.field(&field, content),
            None => {
                self.text("null");
                Ok(())
            }
        }
    }

    fn any(&mut self, message: &DynamicMessage) -> Result<(), Unwritable> {
        let (url, bytes) = (
            message.get_field_by_name("type_url"),
            message.get_field_by_name("value"),
        );
        let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
        let bytes = bytes
            .as_deref()
            .and_then(Value::as_bytes)
            .cloned()
            .unwrap_or_default();
        if url.is_empty() && bytes.is_empty() {
            self.text("{}");
            return Ok(());
        }
        if self.anys == MAX_ANYS {
            return Err(unwritable(message, "there are too many inside of each other"));
        }
        let inner = url
            .rsplit_once('/')
            .and_then(|(_, name)| message.descriptor().parent_pool().get_message_by_name(name))
            .ok_or_else(|| unwritable(message, "its type is unknown"))?;
        let inner = DynamicMessage::decode(inner, bytes).map_err(|error| unwritable(message, error))?;
        self.anys += 1;
        self.text("{\"@type\":");
        self.string(url);
        if WellKnown::of(&inner.descriptor()).is_some() {
            self.text(",\"value\":");
            self.message(&inner)?;
        } else {
            self.members(&inner, false)?;
        }
        self.out.push(b'}');
        self.anys -= 1;
        Ok(())
    }

    /// Writes the only field of a message in the place of the message.
    fn content(&mut self, message: &DynamicMessage, name: &str) -> Result<(), Unwritable> {
        let field = message
            .descriptor()
            .get_field_by_name(name)
            .expect("google/protobuf/ gives it this field");
        self.field(&field, &message.get_field(&field))
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect("a Vec takes all bytes");
    }

    /// Writes text that is JSON as it is.
    fn text(&mut self, text: impl std::fmt::Display) {
        write!(self.out, "{text}").expect("a Vec takes all bytes");
    }
}

fn key_text(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::Bool(key) => key.to_string().into(),
        MapKey::I32(key) => key.to_string().into(),
        MapKey::I64(key) => key.to_string().into(),
        MapKey::U32(key) => key.to_string().into(),
        MapKey::U64(key) => key.to_string().into(),
        MapKey::String(key) => key.into(),
    }
}

fn unwritable(message: &DynamicMessage, detail: impl ToString) -> Unwritable {
    Unwritable {
        message: message.descriptor().full_name().to_owned(),
        detail: detail.to_string(),
    }
}
