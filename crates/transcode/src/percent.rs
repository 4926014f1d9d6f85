//! Strict percent-decoding (RFC 3986).

use std::borrow::Cow;

/// Says why text could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PercentError {
    /// `%` without two hexadecimal digits behind it.
    #[error("a percent sign must be followed by two hexadecimal digits")]
    Escape,
    /// The decoded bytes are not UTF-8.
    #[error("the decoded text is not UTF-8")]
    Utf8,
    /// Text holds U+0000, which no service can store.
    #[error("the character U+0000 is not allowed")]
    Nul,
}

/// What an escape or a plus sign means where the text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One path segment: every escape is data, an escaped slash too.
    Segment,
    /// One of several path segments that fill one variable: an escaped slash stays escaped, otherwise it could not be
    /// told from the slashes between segments.
    Segments,
    /// A key or value of the query: a plus sign is a space.
    Query,
}

/// Decodes `raw`.
///
/// # Errors
/// A malformed escape, bytes that are not UTF-8, U+0000.
pub(crate) fn decode(raw: &str, place: Place) -> Result<Cow<'_, str>, PercentError> {
    let plain = |byte: u8| byte != b'%' && !(place == Place::Query && byte == b'+');
    if raw.bytes().all(plain) {
        return if raw.contains('\0') {
            Err(PercentError::Nul)
        } else {
            Ok(Cow::Borrowed(raw))
        };
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'%' => {
                let [high, low, behind @ ..] = rest else {
                    return Err(PercentError::Escape);
                };
                let byte = hex(*high)? << 4 | hex(*low)?;
                if byte == b'/' && place == Place::Segments {
                    decoded.extend_from_slice(&[b'%', *high, *low]);
                } else {
                    decoded.push(byte);
                }
                rest = behind;
            }
            b'+' if place == Place::Query => decoded.push(b' '),
            other => decoded.push(*other),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PercentError::Utf8)?;
    if decoded.contains('\0') {
        Err(PercentError::Nul)
    } else {
        Ok(Cow::Owned(decoded))
    }
}

fn hex(digit: u8) -> Result<u8, PercentError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PercentError::Escape),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain", Place::Segment, "plain")]
    #[case("a%20b", Place::Segment, "a b")]
    #[case("a+b", Place::Segment, "a+b")]
    #[case("a+b", Place::Query, "a b")]
    #[case("a%2Bb", Place::Query, "a+b")]
    #[case("a%2Fb", Place::Segment, "a/b")]
    #[case("a%2fb%41", Place::Segments, "a%2fbA")]
    #[case("%E4%BB%BB", Place::Segment, "任")]
    #[case("%25%32%46", Place::Segment, "%2F")]
    fn escapes_mean_what_they_mean_there(#[case] raw: &str, #[case] place: Place, #[case] text: &str) {
        assert_eq!(decode(raw, place).unwrap(), text);
    }

    #[rstest]
    #[case("%", PercentError::Escape)]
    #[case("%4", PercentError::Escape)]
    #[case("%4g", PercentError::Escape)]
    #[case("%+1", PercentError::Escape)]
    #[case("%ff", PercentError::Utf8)]
    #[case("%c0%af", PercentError::Utf8)]
    #[case("a%00", PercentError::Nul)]
    #[case("a\0", PercentError::Nul)]
    fn what_cannot_be_decoded_is_refused(#[case] raw: &str, #[case] error: PercentError) {
        assert_eq!(decode(raw, Place::Segment), Err(error));
    }

    proptest! {
        #[test]
        fn any_text_survives_when_every_byte_is_escaped(text in "[^\0]*") {
            let raw: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&raw, Place::Segment).unwrap(), text.as_str());
            prop_assert_eq!(decode(&raw, Place::Query).unwrap(), text);
        }

        #[test]
        fn nothing_panics(raw in ".*") {
            for place in [Place::Segment, Place::Segments, Place::Query] {
                drop(decode(&raw, place));
            }
        }
    }
}
