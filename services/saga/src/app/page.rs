//! Page sizes, and page tokens that callers cannot make themselves by accident.

use sha2::{Digest as _, Sha256};

use crate::app::Error;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;
/// So much of a digest goes into a token: a token for other filters is noticed, forging one is pointless.
const CHECK_BYTES: usize = 6;
/// Longest position in a token, in bytes: a definition's name with two numbers.
const MAX_POSITION_BYTES: usize = 128;

/// Reads a page size; 0 means the default.
pub(crate) fn size(asked: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(asked),
        _ => Err(Error::invalid(
            "page_size",
            format!("is {asked}; at most {MAX_PAGE} are given"),
        )),
    }
}

/// Makes the token for the page after `position` of a list with these filters.
pub(crate) fn token(filters: &str, position: &[u8]) -> String {
    let mut bytes = check(filters, position).to_vec();
    bytes.extend_from_slice(position);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a position back; the token must be for the same filters.
pub(crate) fn position(filters: &str, token: &str) -> Result<Vec<u8>, Error> {
    let text = token.as_bytes();
    if !text.len().is_multiple_of(2) || text.len() > 2 * (CHECK_BYTES + MAX_POSITION_BYTES) {
        return Err(Error::PageToken);
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect();
    let bytes = bytes.ok_or(Error::PageToken)?;
    let (found, position) = bytes.split_at_checked(CHECK_BYTES).ok_or(Error::PageToken)?;
    if found == check(filters, position) {
        Ok(position.to_vec())
    } else {
        Err(Error::PageToken)
    }
}

fn check(filters: &str, position: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(filters.len().to_be_bytes());
    hasher.update(filters.as_bytes());
    hasher.update(position);
    let digest = hasher.finalize();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_size_is_bounded() {
        assert_eq!(size(0).unwrap(), DEFAULT_PAGE);
        assert_eq!(size(500).unwrap(), 500);
        assert!(matches!(
            size(501),
            Err(Error::Invalid {
                field: "page_size",
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn a_token_gives_its_position_back(filters in ".{0,20}", at in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(position(&filters, &token(&filters, &at)).unwrap(), at);
        }

        #[test]
        fn a_token_is_for_its_filters_only(a in "[a-z]{0,5}", b in "[a-z]{0,5}", at in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assume!(a != b);
            prop_assert!(matches!(position(&b, &token(&a, &at)), Err(Error::PageToken)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,300}") {
            prop_assert!(matches!(position("f", &text), Err(Error::PageToken)));
        }

        #[test]
        fn made_up_hex_is_refused(text in "([0-9a-f]{2}){0,60}") {
            prop_assert!(matches!(position("f", &text), Err(Error::PageToken)));
        }
    }
}
