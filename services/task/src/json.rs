//! `google.protobuf.Struct` as JSON, and back.
//!
//! A Struct has no integers: whole numbers up to 2^53 become JSON integers, so that `{"max_tokens": 100}` reaches a
//! provider as it was written.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as PbValue};
use serde_json::{Map, Number, Value};

/// Largest whole number that a Struct holds exactly, 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A Struct has no equal in JSON, or none that Postgres can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// A number is NaN or infinite.
    #[error("holds a number that is not finite")]
    NotFinite,
    /// A text holds U+0000.
    #[error("holds a NUL character")]
    Nul,
    /// Nested too deep.
    #[error("is nested deeper than {} levels", crate::pipeline::template::MAX_DEPTH)]
    TooDeep,
}

/// Turns a Struct into a JSON object.
///
/// # Errors
/// See [`Unfit`].
pub(crate) fn from_struct(object: &Struct) -> Result<Value, Unfit> {
    from_object(object, crate::pipeline::template::MAX_DEPTH)
}

fn from_object(object: &Struct, levels: usize) -> Result<Value, Unfit> {
    let levels = levels.checked_sub(1).ok_or(Unfit::TooDeep)?;
    let mut fields = Map::new();
    for (key, value) in &object.fields {
        fields.insert(plain(key)?, from_value(value, levels)?);
    }
    Ok(Value::Object(fields))
}

fn from_value(value: &PbValue, levels: usize) -> Result<Value, Unfit> {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Ok(Value::Null),
        Some(Kind::BoolValue(value)) => Ok(Value::Bool(*value)),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(text)) => plain(text).map(Value::String),
        Some(Kind::ListValue(list)) => {
            let levels = levels.checked_sub(1).ok_or(Unfit::TooDeep)?;
            let items: Result<_, _> = list.values.iter().map(|v| from_value(v, levels)).collect();
            items.map(Value::Array)
        }
        Some(Kind::StructValue(object)) => from_object(object, levels),
    }
}

fn plain(text: &str) -> Result<String, Unfit> {
    if text.contains('\0') {
        return Err(Unfit::Nul);
    }
    Ok(text.to_owned())
}

#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, so exact")]
fn number(value: f64) -> Result<Value, Unfit> {
    if value.fract() == 0.0 && value.abs() <= MAX_EXACT {
        return Ok(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number).ok_or(Unfit::NotFinite)
}

/// Turns a JSON object into a Struct; anything else becomes an empty one.
#[must_use]
pub(crate) fn to_struct(value: &Value) -> Struct {
    let fields = value.as_object().map(|fields| {
        fields
            .iter()
            .map(|(key, value)| (key.clone(), to_value(value)))
            .collect()
    });
    Struct {
        fields: fields.unwrap_or_default(),
    }
}

fn to_value(value: &Value) -> PbValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::MAX)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(to_value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(to_struct(value)),
    };
    PbValue { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: f64) -> Struct {
        let number = PbValue {
            kind: Some(Kind::NumberValue(value)),
        };
        Struct {
            fields: [("n".to_owned(), number)].into_iter().collect(),
        }
    }

    #[test]
    fn whole_numbers_are_integers() {
        assert_eq!(from_struct(&object(100.0)).unwrap().to_string(), r#"{"n":100}"#);
        assert_eq!(from_struct(&object(0.5)).unwrap().to_string(), r#"{"n":0.5}"#);
        assert_eq!(from_struct(&object(-0.0)).unwrap().to_string(), r#"{"n":0}"#);
    }

    #[test]
    fn what_json_or_postgres_cannot_keep_is_refused() {
        assert_eq!(from_struct(&object(f64::NAN)), Err(Unfit::NotFinite));
        assert_eq!(from_struct(&object(f64::INFINITY)), Err(Unfit::NotFinite));
        assert_eq!(from_struct(&to_struct(&json!({ "a": "\0" }))), Err(Unfit::Nul));
        assert_eq!(from_struct(&to_struct(&json!({ "\0": 1 }))), Err(Unfit::Nul));
        let deep = (0..30).fold(json!(1), |inner, _| json!({ "a": [inner] }));
        assert_eq!(from_struct(&to_struct(&deep)), Err(Unfit::TooDeep));
    }

    #[test]
    fn an_absent_kind_is_null() {
        let value = [("a".to_owned(), PbValue { kind: None })];
        let object = Struct {
            fields: value.into_iter().collect(),
        };
        assert_eq!(from_struct(&object).unwrap(), json!({ "a": null }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991i64..9_007_199_254_740_991).prop_map(Value::from),
            (-1e9..1e9f64).prop_map(|n| json!(n + 0.5)),
            "[^\0]{0,10}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,3}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_survives_the_wire(value in any_json()) {
            let object = json!({ "v": value });
            let back = from_struct(&to_struct(&object)).unwrap();
            prop_assert_eq!(to_struct(&back), to_struct(&object));
        }
    }
}
