//! JSON whose bytes matter.

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
    fn a_member_that_is_there_twice_is_an_error() {
        assert!(serde_json::from_str::<Members<'_>>(r#"{"a":1,"a":2}"#).is_err());
    }
}
