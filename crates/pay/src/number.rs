//! Texts that go to providers, checked once.

use std::fmt;

/// Our number of a payment, a refund or a transfer: 6 to 32 letters and digits.
///
/// This is what every provider takes for all three. A number stands for one operation for ever: it is what makes a
/// repetition harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

/// The text is not 6 to 32 letters and digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 6 to 32 letters and digits")]
pub struct NumberError;

impl Number {
    /// Checks a number.
    ///
    /// # Errors
    /// [`NumberError`] if it is not 6 to 32 letters and digits of ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, NumberError> {
        let text = text.into();
        let good = (6..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        good.then_some(Self(text)).ok_or(NumberError)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a payer reads about a payment: 1 to 127 bytes without control characters and without the signs that
/// providers forbid or that part the columns of their bills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

/// The text is not 1 to 127 bytes, or has one of the characters that are not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 127 bytes without control characters and without / = & , ` \"")]
pub struct SubjectError;

impl Subject {
    /// Checks a subject.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        let good =
            (1..=127).contains(&text.len()) && !text.chars().any(|c| c.is_control() || "/=&,`\"".contains(c));
        good.then_some(Self(text)).ok_or(SubjectError)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the longest start with at most `max` bytes.
    pub(crate) fn start(&self, max: usize) -> &str {
        &self.0[..self.0.floor_char_boundary(max)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_letters_and_digits() {
        assert!(Number::new("PAY20261121000001").is_ok());
        for bad in [
            "",
            "short",
            "PAY_2026",
            "PAY 2026",
            "支付一二三四",
            &"9".repeat(33),
        ] {
            assert_eq!(Number::new(bad), Err(NumberError), "{bad}");
        }
    }

    #[test]
    fn a_subject_has_no_signs_that_part_columns() {
        assert!(Subject::new("会员 12 个月").is_ok());
        for bad in ["", "a,b", "a\nb", "a`b", "a\"b", "a&b", &"会".repeat(43)] {
            assert_eq!(Subject::new(bad), Err(SubjectError), "{bad}");
        }
    }

    #[test]
    fn a_shortened_subject_ends_between_characters() {
        assert_eq!(Subject::new("会员卡").unwrap().start(7), "会员");
    }
}
