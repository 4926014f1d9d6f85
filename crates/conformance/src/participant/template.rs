//! Requests that are new each time.

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};

/// What stands in a request for a number that is new for each operation.
pub const PLACEHOLDER: &str = "{n}";
/// Largest request, in bytes of JSON.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// A request as JSON, in which each `{n}` becomes a number.
#[derive(Clone)]
pub struct Template {
    message: MessageDescriptor,
    json: String,
}

// A descriptor shows all that it refers to.
impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template")
            .field("message", &self.message.full_name())
            .field("json", &self.json)
            .finish()
    }
}

impl Template {
    /// Takes a request of this type.
    ///
    /// # Errors
    /// In words, if it is not one once the placeholder is a number.
    pub fn new(message: MessageDescriptor, json: impl Into<String>) -> Result<Self, String> {
        let template = Self {
            message,
            json: json.into(),
        };
        template.read(1)?;
        Ok(template)
    }

    /// Returns the request with this number.
    ///
    /// # Errors
    /// In words, if it is none: the number does not fit its field.
    pub fn read(&self, number: u64) -> Result<DynamicMessage, String> {
        let json = self.json.replace(PLACEHOLDER, &number.to_string());
        saga_definition::decode_json(&self.message, &json, MAX_JSON_BYTES).map_err(|error| error.to_string())
    }
}

/// Returns the message with one value changed; `None` if it has no field that could be. Numbers come first: a participant is
/// likely to take another one, while another text may be no id.
pub(super) fn changed(message: &DynamicMessage) -> Option<DynamicMessage> {
    [false, true]
        .into_iter()
        .find_map(|with_texts| changed_once(message, with_texts))
}

fn changed_once(message: &DynamicMessage, with_texts: bool) -> Option<DynamicMessage> {
    let mut other = message.clone();
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        if !field.is_list()
            && !field.is_map()
            && let Some(value) = another(value.as_ref(), with_texts)
        {
            other.set_field(&field, value);
            return Some(other);
        }
    }
    None
}

fn another(value: &Value, with_texts: bool) -> Option<Value> {
    match value {
        Value::I64(number) => Some(Value::I64(number.wrapping_add(1))),
        Value::U64(number) => Some(Value::U64(number.wrapping_add(1))),
        Value::I32(number) => Some(Value::I32(number.wrapping_add(1))),
        Value::U32(number) => Some(Value::U32(number.wrapping_add(1))),
        Value::Bool(flag) => Some(Value::Bool(!flag)),
        Value::String(text) if with_texts => Some(Value::String(format!("{text}-changed"))),
        Value::Message(inner) if with_texts => changed(inner).map(Value::Message),
        Value::String(_)
        | Value::Message(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(message: &str, json: &str) -> Result<Template, String> {
        let pool = proto::descriptor_pool();
        Template::new(
            pool.get_message_by_name(message).expect("it is one of ours"),
            json,
        )
    }

    #[test]
    fn a_placeholder_is_a_number_wherever_it_stands() {
        let request = template(
            "evenkeel.quota.v1.ReserveRequest",
            r#"{"task_id": "t-{n}", "amount": {n}}"#,
        );
        let message = request.unwrap().read(17).unwrap();
        let json = saga_definition::encode_json(&message).unwrap();
        assert_eq!(json, r#"{"taskId":"t-17","amount":"17"}"#);
        let wrong = template("evenkeel.quota.v1.ReserveRequest", r#"{"tusk_id": "t"}"#).unwrap_err();
        assert!(wrong.contains("tusk_id"), "{wrong}");
    }

    #[test]
    fn a_number_is_changed_before_a_text() {
        let of = |message: &str, json: &str| {
            let message = template(message, json).unwrap().read(1).unwrap();
            let other = changed(&message)?;
            assert_ne!(other, message);
            Some(saga_definition::encode_json(&other).unwrap())
        };
        let reserve = of(
            "evenkeel.quota.v1.ReserveRequest",
            r#"{"task_id": "t", "amount": 4}"#,
        );
        assert_eq!(reserve.unwrap(), r#"{"taskId":"t","amount":"5"}"#);
        let cancel = of("evenkeel.quota.v1.CancelRequest", r#"{"task_id": "t"}"#);
        assert_eq!(cancel.unwrap(), r#"{"taskId":"t-changed"}"#);
        assert_eq!(of("evenkeel.bench.v1.UndoResponse", "{}"), None);
    }
}
