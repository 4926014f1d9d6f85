//! Names of values.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::MAX_KEY_BYTES;

/// Longest family; leaves room for a tag and a digest.
const MAX_FAMILY_BYTES: usize = 32;
/// Longest first part that is written out.
const MAX_TAG_BYTES: usize = 80;
/// Begins a digest. Cannot be confused with an escaped byte, which goes on with two hexadecimal digits.
const DIGEST: &str = "%=";
/// Bytes of SHA-256 that are kept: two texts with one digest would take 2^96 tries.
const DIGEST_BYTES: usize = 24;

/// A key, rendered `family:{part}:part`. The first part is the hash tag of Redis Cluster: keys with the same one are in one
/// slot, and can be counted together.
///
/// Parts may hold anything. `%`, `:`, `{`, `}` and all that is not visible ASCII are written as `%XX`; a key that would be
/// longer than [`MAX_KEY_BYTES`] has digests in the place of what is long. Different parts always make different keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    family: &'static str,
    text: String,
}

impl Key {
    /// Renders a key.
    ///
    /// # Panics
    /// If the family is not `[a-z][a-z0-9-]*` of at most 32 bytes: families are words in the code.
    #[must_use]
    pub fn new(family: &'static str, parts: &[&str]) -> Self {
        assert!(is_family(family), "{family:?} is no family of keys");
        let Some((first, rest)) = parts.split_first() else {
            let text = family.to_owned();
            return Self { family, text };
        };
        let mut tag = escape(first);
        if tag.len() > MAX_TAG_BYTES {
            tag = digest(&tag);
        }
        let mut tail: String = rest
            .iter()
            .flat_map(|part| [":".to_owned(), escape(part)])
            .collect();
        let head = format!("{family}:{{{tag}}}");
        if head.len() + tail.len() > MAX_KEY_BYTES {
            tail = format!(":{}", digest(&tail));
        }
        Self {
            family,
            text: head + &tail,
        }
    }

    /// Returns the rendered key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the family.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        self.family
    }
}

impl fmt::Debug for Key {
    /// Shows the family only: parts are phone numbers, addresses and tickets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:…)", self.family)
    }
}

fn is_family(text: &str) -> bool {
    text.len() <= MAX_FAMILY_BYTES
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn escape(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_graphic() && !b"%:{}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            push_hex(&mut text, "%", byte);
        }
    }
    text
}

fn digest(text: &str) -> String {
    let mut out = DIGEST.to_owned();
    for byte in Sha256::digest(text).iter().take(DIGEST_BYTES) {
        push_hex(&mut out, "", *byte);
    }
    out
}

fn push_hex(out: &mut String, before: &str, byte: u8) {
    write!(out, "{before}{byte:02x}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_read_as_operators_expect() {
        let text = |family, parts: &[&str]| Key::new(family, parts).as_str().to_owned();
        assert_eq!(text("refresh", &["user_1", "s-2"]), "refresh:{user_1}:s-2");
        assert_eq!(
            text("rate", &["login", "ip", "2001:db8::1"]),
            "rate:{login}:ip:2001%3adb8%3a%3a1"
        );
        assert_eq!(text("cache", &["a{b}%"]), "cache:{a%7bb%7d%25}");
        assert_eq!(text("all", &[]), "all");
    }

    #[test]
    fn a_long_part_becomes_a_digest_and_the_tag_stays() {
        let long = "x".repeat(300);
        let key = Key::new("idempotency", &["user_1", &long]);
        assert!(
            key.as_str().starts_with("idempotency:{user_1}:%="),
            "{}",
            key.as_str()
        );
        assert_eq!(
            key.as_str().len(),
            "idempotency:{user_1}:".len() + 2 + 2 * DIGEST_BYTES
        );
    }

    #[test]
    fn a_person_is_not_shown_in_a_log() {
        assert_eq!(
            format!("{:?}", Key::new("code", &["+8613800000000"])),
            "Key(code:…)"
        );
    }

    #[test]
    #[should_panic(expected = "is no family")]
    fn a_family_is_a_word() {
        let _ = Key::new("Refresh:", &[]);
    }

    /// Short texts of the letters that could be confused, and long ones.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[%:{}=a3\u{0}é ]{0,6}",
            1 => ".{0,60}",
            1 => "[a:]{150,300}",
        ]
    }

    proptest! {
        #[test]
        fn a_key_is_short_and_visible_and_has_one_hash_tag(parts in prop::collection::vec(part(), 1..6)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let key = Key::new("a-family-of-thirty-two-bytes-abc", &parts);
            let text = key.as_str();
            prop_assert!(text.len() <= MAX_KEY_BYTES, "{text}");
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            prop_assert_eq!(text.matches('{').count(), 1);
            prop_assert_eq!(text.matches('}').count(), 1);
            let head = "a-family-of-thirty-two-bytes-abc:{";
            prop_assert!(text.starts_with(head), "{}", text);
        }

        #[test]
        fn different_parts_make_different_keys(
            one in prop::collection::vec(part(), 0..4),
            other in prop::collection::vec(part(), 0..4),
        ) {
            fn refs(parts: &[String]) -> Vec<&str> {
                parts.iter().map(String::as_str).collect()
            }
            let same = Key::new("f", &refs(&one)) == Key::new("f", &refs(&other));
            prop_assert_eq!(same, one == other);
        }
    }
}
