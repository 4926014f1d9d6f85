//! JSON as RFC 8259 has it, read once: no key twice, nothing after it, not too deep.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::BadRequest;

/// Deepest nesting. Nothing of ours is deeper than 10; free JSON of users may be.
const MAX_DEPTH: usize = 64;

/// Reads a body.
pub(crate) fn parse(body: &[u8]) -> Result<Value, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|error| {
        BadRequest::malformed(format!(
            "the body is not UTF-8 from byte {} on",
            error.valid_up_to()
        ))
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    // Our own bound is lower.
    let value = Seed(MAX_DEPTH)
        .deserialize(&mut reader)
        .map_err(|error| wrong(&error))?;
    reader.end().map_err(|error| wrong(&error))?;
    Ok(value)
}

fn wrong(error: &serde_json::Error) -> BadRequest {
    BadRequest::malformed(format!("the body is not JSON: {error}"))
}

/// Levels that may still be opened.
#[derive(Clone, Copy)]
struct Seed(usize);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.0.checked_sub(1) {
            Some(left) => Ok(Self(left)),
            None => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels"))),
        }
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is too large"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("the key {shown:?} comes twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problem(body: &[u8]) -> String {
        parse(body).unwrap_err().message
    }

    #[test]
    fn json_is_read_as_it_is() {
        let body = br#"{"a": [1, -2, 3.5, "x", null, true], "b": {"c": 18446744073709551615}}"#;
        let expected = json!({"a": [1, -2, 3.5, "x", null, true], "b": {"c": u64::MAX}});
        assert_eq!(parse(body).unwrap(), expected);
    }

    #[test]
    fn what_is_not_json_says_where() {
        assert!(problem(b"{\"a\": 1").contains("line 1 column 7"));
        assert!(problem(b"").contains("EOF"));
        assert!(problem(b"{} {}").contains("trailing"));
        assert!(problem(b"{\"a\": \"\xff\"}").contains("byte 7"));
        assert!(problem(br#"{"x": {"a": 1, "b": 2, "a": 3}}"#).contains("\"a\" comes twice"));
        assert!(problem(br#"{"a": 1e999}"#).contains("not JSON"));
        let deep = "[".repeat(65) + &"]".repeat(65);
        assert!(problem(deep.as_bytes()).contains("64 levels"));
        let fits = "[".repeat(64) + &"]".repeat(64);
        assert!(parse(fits.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_has_no_key_twice_is_read_as_by_others(text in r#"[\[\]{}:,"a-c0-9.e -]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
