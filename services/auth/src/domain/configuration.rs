//! Settings of the product that people change while it runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Error;

/// Entries at most, so that all of them fit into one answer and one cached value.
pub(crate) const MAX_ENTRIES: i64 = 100;
const MAX_KEY_BYTES: usize = 100;
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Name of an entry: lower-case words of letters, digits and underscores, joined by dots; at most 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let is_word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if text.len() <= MAX_KEY_BYTES && text.split('.').all(is_word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "key",
                "must be lower-case words joined by dots, at most 100 characters",
            ))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an entry is set to: JSON of at most 16 KiB.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value(Json);

impl Value {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |problem| Error::invalid("value_json", problem);
        if text.len() > MAX_VALUE_BYTES {
            return Err(invalid("must be at most 16 KiB"));
        }
        let value: Json = serde_json::from_str(text).map_err(|_| invalid("must be JSON"))?;
        // The database cannot hold it.
        if has_nul(&value) {
            return Err(invalid("must not contain \\u0000"));
        }
        Ok(Self(value))
    }

    pub(crate) fn as_json(&self) -> &Json {
        &self.0
    }
}

/// Nesting is bounded by the parser.
fn has_nul(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
        Json::String(text) => text.contains('\0'),
        Json::Array(values) => values.iter().any(has_nul),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Json,
    pub(crate) public: bool,
    pub(crate) version: i64,
    pub(crate) updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_words_joined_by_dots() {
        for good in ["a", "app.theme", "v2.max_items"] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "A",
            "a b",
            "a..b",
            "1a",
            "a-b",
            &"a".repeat(101),
        ] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_json_that_the_database_can_hold() {
        for good in ["null", "1", "\"x\"", "{\"a\":[true,\"\\\\u0000\"]}"] {
            assert!(Value::parse(good).is_ok(), "{good}");
        }
        let long = format!("\"{}\"", "x".repeat(16 * 1024));
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        for bad in [
            "",
            "{",
            "{} {}",
            "\"\\u0000\"",
            "{\"\\u0000\":1}",
            "[[\"\\u0000\"]]",
            "1e999",
            &long,
            &deep[..16_000],
        ] {
            assert!(Value::parse(bad).is_err());
        }
    }
}
