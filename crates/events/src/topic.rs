//! Topics and the patterns that select them, as a topic exchange of AMQP 0-9-1 understands them.

use std::fmt;
use std::str::FromStr;

/// Longest topic, in bytes; AMQP allows 255.
pub const MAX_TOPIC_BYTES: usize = 200;

/// Says what is wrong with a topic, if anything: at least two words of `[a-z][a-z0-9_]*` joined by dots, at most 200 bytes.
///
/// # Errors
/// The rule that is broken.
pub fn check(topic: &str) -> Result<(), &'static str> {
    if topic.len() > MAX_TOPIC_BYTES {
        return Err("a topic has at most 200 bytes");
    }
    if topic.split('.').count() < 2 {
        return Err("a topic has at least two words, joined by a dot");
    }
    if topic.split('.').all(is_word) {
        Ok(())
    } else {
        Err("a word of a topic is a-z followed by a-z, 0-9 or _")
    }
}

fn is_word(word: &str) -> bool {
    word.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Selects topics: words as in a topic, `*` for exactly one word, `#` for any number of words, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

/// A text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern of topics: want words of a-z0-9_, `*` or `#`, joined by dots, at most 200 bytes"
)]
pub struct PatternError(String);

impl Pattern {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the pattern selects `topic`.
    #[must_use]
    pub fn selects(&self, topic: &str) -> bool {
        let words: Vec<&str> = self.0.split('.').collect();
        let topic: Vec<&str> = topic.split('.').collect();
        // reach[i]: the words of the pattern so far can stand for the first i words of the topic.
        let mut reach = vec![false; topic.len() + 1];
        reach[0] = true;
        for word in words {
            let mut next = vec![false; topic.len() + 1];
            for at in 0..=topic.len() {
                next[at] = match word {
                    "#" => reach[at] || at > 0 && next[at - 1],
                    "*" => at > 0 && reach[at - 1],
                    word => at > 0 && reach[at - 1] && topic[at - 1] == word,
                };
            }
            reach = next;
        }
        reach[topic.len()]
    }

    /// Returns a regular expression of Postgres that matches a selected topic followed by one dot.
    pub(crate) fn regex(&self) -> String {
        let words: String = self
            .0
            .split('.')
            .map(|word| match word {
                "#" => r"([^.]+\.)*".to_owned(),
                "*" => r"[^.]+\.".to_owned(),
                // Words hold nothing that would need an escape.
                word => format!(r"{word}\."),
            })
            .collect();
        format!("^{words}$")
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let good = text.len() <= MAX_TOPIC_BYTES
            && text
                .split('.')
                .all(|word| word == "*" || word == "#" || is_word(word));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(PatternError(text.chars().take(MAX_TOPIC_BYTES).collect()))
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_have_a_form() {
        for good in ["quota.reserved", "device.allocate.requested", "a1.b_2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("a.{}", "b".repeat(199));
        for bad in [
            "",
            "quota",
            "Quota.reserved",
            ".a",
            "a.",
            "a..b",
            "1a.b",
            "a.b c",
            "a.*",
            "a.é",
            long.as_str(),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_select_as_a_topic_exchange_does() {
        for (pattern, topic, selected) in [
            ("quota.low", "quota.low", true),
            ("quota.low", "quota.lower", false),
            ("quota.*", "quota.low", true),
            ("quota.*", "quota.low.now", false),
            ("quota.#", "quota", true),
            ("quota.#", "quota.low.now", true),
            ("#", "anything.at.all", true),
            ("#.low", "low", true),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b.c.z", true),
            ("a.#.z", "a.b.c", false),
            ("*.*", "a.b", true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.selects(topic), selected, "{pattern} {topic}");
        }
        for bad in ["", "a..b", "a.**", "a.b#", "A", "a b", "a\\.b"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,40}") {
            let _ = check(&text);
            let _ = text.parse::<Pattern>();
        }

        #[test]
        fn a_topic_selects_itself(topic in "[a-z][a-z0-9_]{0,5}(\\.[a-z][a-z0-9_]{0,5}){1,4}") {
            prop_assert_eq!(check(&topic), Ok(()));
            prop_assert!(topic.parse::<Pattern>().unwrap().selects(&topic));
        }
    }
}
