//! Keys that clients choose.

use ::http::{HeaderMap, HeaderName};

/// Longest key, in bytes, without quotes and escapes.
pub const MAX_KEY_BYTES: usize = 255;

/// A client's key: 1 to 255 visible characters or spaces of ASCII. As a request extension it is the key of the request, for
/// whoever passes it on.
///
/// A value in double quotes is read as a string of RFC 8941, section 3.3.3, as
/// draft-ietf-httpapi-idempotency-key-header wants it: `"abc"` is the key `abc`, and `\"` and `\\` stand for `"` and `\`. Any
/// other value is the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

/// A value is no key, or there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// More than one value came.
    #[error("more than one Idempotency-Key")]
    Several,
    /// It has no characters.
    #[error("an empty Idempotency-Key")]
    Empty,
    /// It has more than 255 bytes.
    #[error("an Idempotency-Key of more than 255 bytes")]
    Long,
    /// It has a byte that is not printable ASCII.
    #[error("an Idempotency-Key with a character that is not printable ASCII")]
    Character,
    /// It begins with a quote and is not one quoted string.
    #[error("an Idempotency-Key that begins with a quote and is not one quoted string")]
    Quotes,
}

impl Key {
    /// Reads a header's value.
    ///
    /// # Errors
    /// It is not of the form.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidKey> {
        let value = value.trim_ascii();
        if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InvalidKey::Character);
        }
        let text = match value.strip_prefix(b"\"") {
            Some(rest) => unquote(rest)?,
            None => value.iter().copied().map(char::from).collect(),
        };
        match text.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(text)),
            _ => Err(InvalidKey::Long),
        }
    }

    /// Reads the one value of a header, `None` if there is none.
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, InvalidKey> {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(InvalidKey::Several);
        }
        Self::parse(value.as_bytes()).map(Some)
    }

    /// Returns the key, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads what comes after the first quote of a string.
fn unquote(rest: &[u8]) -> Result<String, InvalidKey> {
    let mut text = String::with_capacity(rest.len());
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Ok(text),
            b'"' => return Err(InvalidKey::Quotes),
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => text.push(char::from(*escaped)),
                _ => return Err(InvalidKey::Quotes),
            },
            other => text.push(char::from(*other)),
        }
    }
    Err(InvalidKey::Quotes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &str) -> Result<String, InvalidKey> {
        Key::parse(value.as_bytes()).map(|key| key.0)
    }

    #[test]
    fn a_key_is_read_with_and_without_quotes() {
        let id = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        assert_eq!(parse(id).unwrap(), id);
        assert_eq!(parse(&format!("\"{id}\"")).unwrap(), id);
        assert_eq!(parse("  a b \t").unwrap(), "a b");
        assert_eq!(parse(r#""a\"b\\c""#).unwrap(), r#"a"b\c"#);
        // Only a first quote makes a string.
        assert_eq!(parse(r#"a"b\"#).unwrap(), r#"a"b\"#);
        assert_eq!(parse(&"x".repeat(255)).unwrap().len(), 255);
        assert_eq!(parse(&format!("\"{}\"", "x".repeat(255))).unwrap().len(), 255);
    }

    #[test]
    fn what_is_no_key_says_why() {
        for (value, why) in [
            ("", InvalidKey::Empty),
            ("   ", InvalidKey::Empty),
            ("\"\"", InvalidKey::Empty),
            ("\"", InvalidKey::Quotes),
            ("\"a", InvalidKey::Quotes),
            ("\"a\\\"", InvalidKey::Quotes),
            ("\"a\\b\"", InvalidKey::Quotes),
            ("\"a\";x=1", InvalidKey::Quotes),
            ("\"a\", \"b\"", InvalidKey::Quotes),
            ("a\u{7f}", InvalidKey::Character),
            ("a\tb", InvalidKey::Character),
            ("é", InvalidKey::Character),
            (&"x".repeat(256), InvalidKey::Long),
        ] {
            assert_eq!(parse(value), Err(why), "{value:?}");
        }
    }

    #[test]
    fn two_values_are_refused_although_they_are_the_same() {
        let name = HeaderName::from_static("idempotency-key");
        let mut headers = HeaderMap::new();
        assert_eq!(Key::of(&headers, &name), Ok(None));
        headers.append(&name, "a".parse().unwrap());
        assert_eq!(Key::of(&headers, &name), Ok(Some(Key("a".to_owned()))));
        headers.append(&name, "a".parse().unwrap());
        assert_eq!(Key::of(&headers, &name), Err(InvalidKey::Several));
    }

    proptest! {
        #[test]
        fn every_printable_text_can_be_quoted(text in "[ -~]{1,255}") {
            let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
            prop_assert_eq!(parse(&format!("\"{escaped}\"")), Ok(text));
        }

        #[test]
        fn every_text_that_begins_otherwise_is_itself(text in "[!#-~][ -~]{0,253}[!-~]") {
            prop_assert_eq!(parse(&text), Ok(text));
        }

        #[test]
        fn a_key_is_always_within_its_bounds(value in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(key) = Key::parse(&value) {
                prop_assert!((1..=MAX_KEY_BYTES).contains(&key.0.len()));
                prop_assert!(key.0.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }
}
