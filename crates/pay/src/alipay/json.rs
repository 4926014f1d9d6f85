//! JSON whose bytes matter: what is signed, and amounts.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of a JSON object, in order, each value as its bytes came. A name that is there twice is an error: two
/// readers could see two different answers.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

/// Most members that are read.
const MAX_MEMBERS: usize = 16;

impl<'a> Members<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value.get())
    }

    /// Returns a member that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.len() == MAX_MEMBERS || members.iter().any(|(member, _)| *member == name) {
                        return Err(A::Error::custom("too many members, or one twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// Reads an amount, which Alipay writes as a string and its documents also as a number, without rounding it.
pub(super) fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match raw.get() {
        text if text.starts_with('"') => serde_json::from_str(text).map_err(D::Error::custom),
        number => Ok(number.to_owned()),
    }
}

/// Reads an amount that may be absent.
pub(super) fn maybe_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = decimal(deserializer)?;
    Ok((text != "null" && !text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_bytes() {
        let members: Members<'_> = serde_json::from_str(
            "{ \"a\" \n : {\"x\" : 1, \"sign\":\"no\",\"u\":\"\\/\"} ,\"sign\" : \"yes\"}",
        )
        .unwrap();
        assert_eq!(members.get("a"), Some(r#"{"x" : 1, "sign":"no","u":"\/"}"#));
        assert_eq!(members.text("sign").as_deref(), Some("yes"));
        assert_eq!(members.text("a"), None);
    }

    #[test]
    fn an_amount_is_a_string_or_a_number_and_keeps_its_digits() {
        #[derive(Deserialize)]
        struct Read {
            #[serde(deserialize_with = "decimal")]
            amount: String,
            #[serde(default, deserialize_with = "maybe_decimal")]
            other: Option<String>,
        }
        for (text, amount, other) in [
            (r#"{"amount":"0.10"}"#, "0.10", None),
            (r#"{"amount":100.20,"other":"1.00"}"#, "100.20", Some("1.00")),
            (
                r#"{"amount":9007199254740993.01,"other":null}"#,
                "9007199254740993.01",
                None,
            ),
        ] {
            let read: Read = serde_json::from_str(text).unwrap();
            assert_eq!((read.amount.as_str(), read.other.as_deref()), (amount, other));
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_an_error() {
        assert!(serde_json::from_str::<Members<'_>>(r#"{"a":1,"a":2}"#).is_err());
    }
}
