//! The language that the client reads.

/// Most bytes of `Accept-Language` that are looked at.
const MAX_BYTES: usize = 512;
/// Most ranges of `Accept-Language` that are looked at.
const MAX_RANGES: usize = 16;

/// A language that the catalogue of reasons has texts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    ZhCn,
}

impl Lang {
    /// Returns the tag for `Content-Language` (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// Chooses a language by `Accept-Language` (RFC 9110, 12.5.4): the one with the highest weight, of equals the first.
    /// Every kind of Chinese is served with the one there is. English, if nothing fits or the header is malformed; only
    /// the first 16 ranges in the first 512 bytes count.
    #[must_use]
    pub fn negotiate(accept_language: Option<&str>) -> Self {
        let header = accept_language.unwrap_or_default();
        let header = &header[..header.floor_char_boundary(MAX_BYTES)];
        let mut best = (0, Self::default());
        for (weight, lang) in header.split(',').take(MAX_RANGES).filter_map(range) {
            if weight > best.0 {
                best = (weight, lang);
            }
        }
        best.1
    }
}

/// Reads one range, `zh-CN;q=0.8`; the weight in thousandths.
fn range(text: &str) -> Option<(u16, Lang)> {
    let (tag, parameters) = text.split_once(';').unwrap_or((text, ""));
    let primary = tag.trim().split('-').next().unwrap_or_default();
    let lang = if primary.eq_ignore_ascii_case("zh") {
        Lang::ZhCn
    } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
        Lang::En
    } else {
        return None;
    };
    let weight = match parameters.trim() {
        "" => 1000,
        parameter => weight(
            parameter
                .strip_prefix("q=")
                .or_else(|| parameter.strip_prefix("Q="))?,
        )?,
    };
    Some((weight, lang))
}

/// Reads `0`, `0.5`, `1.000`.
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Lang::En)]
    #[case("zh", Lang::ZhCn)]
    #[case("ZH-cn", Lang::ZhCn)]
    #[case("zh-Hant-TW", Lang::ZhCn)]
    #[case("zh-CN,zh;q=0.9,en;q=0.8", Lang::ZhCn)]
    #[case("en-GB,zh;q=0.9", Lang::En)]
    #[case("en;q=0.8, zh;q=0.9", Lang::ZhCn)]
    #[case("en;q=0.5,zh;q=0.5", Lang::En)]
    #[case("zh;q=0", Lang::En)]
    #[case("zh;q=0, en;q=0", Lang::En)]
    #[case("fr, zh;q=0.1", Lang::ZhCn)]
    #[case("fr, *;q=0.5, zh;q=0.1", Lang::En)]
    #[case("zhx", Lang::En)]
    #[case("zh;q=2", Lang::En)]
    #[case("zh;q=0.1234", Lang::En)]
    #[case("zh;q", Lang::En)]
    #[case("fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,fr,zh", Lang::En)]
    fn the_language_with_the_highest_weight_is_chosen(#[case] header: &str, #[case] lang: Lang) {
        assert_eq!(Lang::negotiate(Some(header)), lang);
    }

    #[test]
    fn without_the_header_it_is_english() {
        assert_eq!(Lang::negotiate(None), Lang::En);
    }

    proptest! {
        #[test]
        fn nothing_panics(header in "([a-z*;=q.0-9, é-]|zh|en){0,400}") {
            let lang = Lang::negotiate(Some(&header));
            prop_assert!(lang == Lang::En || header.contains("zh"));
        }
    }
}
