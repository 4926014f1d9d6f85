//! Words of the language: durations, numbers, names, paths.

/// A literal in a definition, before it meets the type of its target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Int(i128),
    Float(f64),
    Bool(bool),
    Null,
}

impl Literal {
    /// Reads a plain (unquoted) scalar by the JSON forms of YAML's core schema; everything else is text.
    pub(crate) fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number_like = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        if !number_like {
            return Self::Text(text.to_owned());
        }
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            // Beyond 128 bits no target fits: saturating keeps the range error.
            let beyond = if text.starts_with('-') {
                i128::MIN
            } else {
                i128::MAX
            };
            return Self::Int(text.parse().unwrap_or(beyond));
        }
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Float)
    }

    /// Describes the literal for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("string \"{}\"", crate::yaml::shorten(text)),
            Self::Int(n) => format!("integer {n}"),
            Self::Float(n) => format!("number {n}"),
            Self::Bool(b) => format!("bool {b}"),
            Self::Null => "null".to_owned(),
        }
    }
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `250ms`, `10s`, `5m`, `2h`, `30d`, or several of them from large to small (`1h30m`). Milliseconds.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut above = u64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *factor >= above {
            return None;
        }
        above = *factor;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    Some(total)
}

/// Writes milliseconds in the largest unit that divides them.
pub(crate) fn format_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let (unit, factor) = UNITS
        .iter()
        .find(|(_, factor)| ms.is_multiple_of(*factor))
        .copied()
        .unwrap_or(("ms", 1));
    format!("{}{unit}", ms / factor)
}

/// Tells whether a name follows `^[A-Z][A-Z0-9_]{0,63}$`.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Tells whether a plain scalar is meant as a path.
pub(crate) fn is_path(text: &str) -> bool {
    text == "input"
        || ["input.", "steps.", "saga."]
            .iter()
            .any(|root| text.starts_with(root))
}

/// Tells whether a path segment can be the name of a field or step.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Tells whether a routing key follows `^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$` and has at most 200 bytes.
pub(crate) fn is_routing_key(text: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= 200 && text.contains('.') && text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_durations() {
        for text in [
            "",
            "5",
            "s",
            "5 m",
            "-5s",
            "1.5s",
            "5x",
            "5s10m",
            "5s5s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for ms in [0, 1, 999, 1_000, 61_000, 3_600_000, 86_400_000, 86_400_001] {
            assert_eq!(parse_duration(&format_duration(ms)), Some(ms));
        }
    }

    #[test]
    fn plain_scalars_have_json_types() {
        assert_eq!(Literal::plain("12"), Literal::Int(12));
        assert_eq!(Literal::plain("-7"), Literal::Int(-7));
        assert_eq!(Literal::plain("1.5"), Literal::Float(1.5));
        assert_eq!(Literal::plain("1e3"), Literal::Float(1000.0));
        assert_eq!(Literal::plain("true"), Literal::Bool(true));
        assert_eq!(Literal::plain("~"), Literal::Null);
        for text in ["0x10", "1_000", "yes", "2024-01-01", "1.2.3", ".5", "inf"] {
            assert_eq!(Literal::plain(text), Literal::Text(text.to_owned()), "{text}");
        }
        assert_eq!(Literal::plain(&"9".repeat(60)), Literal::Int(i128::MAX));
    }

    #[test]
    fn routing_keys_are_lower_case_words_with_dots() {
        for key in ["a.b", "device.allocate.requested", "a1_.b_2"] {
            assert!(is_routing_key(key), "{key}");
        }
        let long = format!("a.{}", "b".repeat(199));
        for key in [
            "", "a", ".", "a.", ".a", "a..b", "A.b", "1.b", "a.*", "a.#", "a b.c", "ä.b", &long,
        ] {
            assert!(!is_routing_key(key), "{key}");
        }
    }

    #[test]
    fn names_are_upper_case_words() {
        for name in ["A", "TASK_RUN", "A1_"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a", "_A", "1A", "A-B", "Ä", &"A".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
