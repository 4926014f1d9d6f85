//! Which passwords are taken.

use secrecy::{ExposeSecret, SecretString};

use super::common;

/// Fewest characters.
const MIN_CHARS: usize = 8;
/// Most bytes of UTF-8: bcrypt reads no more, and what it would not read must not be taken for read.
pub(super) const MAX_BYTES: usize = 72;

/// A password that may be set. Not shown by `Debug`, wiped when dropped.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

/// Why a password may not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has fewer than 8 characters.
    #[error("the password must have at least {MIN_CHARS} characters")]
    Short,
    /// It is one of the 10,000 most common ones.
    #[error("the password is one of the most common ones; choose another")]
    Common,
    /// It has control characters, which some keyboards cannot type.
    #[error("the password must not contain control characters")]
    Control,
    /// It is longer than 72 bytes of UTF-8.
    #[error("the password must have at most {MAX_BYTES} bytes")]
    Long,
}

impl Password {
    /// Takes a password that a user chose.
    ///
    /// # Errors
    /// Why it may not be used.
    pub fn chosen(text: &str) -> Result<Self, Unfit> {
        if text.len() > MAX_BYTES {
            return Err(Unfit::Long);
        }
        if text.chars().count() < MIN_CHARS {
            return Err(Unfit::Short);
        }
        if text.chars().any(char::is_control) {
            return Err(Unfit::Control);
        }
        if common::contains(text) {
            return Err(Unfit::Common);
        }
        Ok(Self(text.into()))
    }

    pub(super) fn text(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_bound_the_length_and_characters_the_shortness() {
        assert!(Password::chosen("天地玄黄宇宙洪荒").is_ok());
        assert_eq!(Password::chosen("天地玄黄宇宙洪").unwrap_err(), Unfit::Short);
        assert!(Password::chosen(&"é".repeat(36)).is_ok());
        assert_eq!(Password::chosen(&"é".repeat(37)).unwrap_err(), Unfit::Long);
    }

    #[test]
    fn common_and_untypeable_ones_are_refused() {
        assert_eq!(Password::chosen("Password1").unwrap_err(), Unfit::Common);
        assert_eq!(Password::chosen("tab\tinside it").unwrap_err(), Unfit::Control);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_within_the_bounds_and_never_shown(text in "\\PC{0,80}") {
            if let Ok(password) = Password::chosen(&text) {
                prop_assert!(text.len() <= 72 && text.chars().count() >= 8);
                let shown = format!("{password:?}");
                prop_assert!(!shown.contains(&text));
            }
        }
    }
}
