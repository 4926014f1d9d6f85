//! Phone numbers, in one form.

use std::fmt;

/// Digits of a number in E.164 without the `+`: at most 15 (ITU-T E.164), and fewer than 7 reach nobody.
const E164_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Digits of a mobile number in mainland China.
const MAINLAND_DIGITS: usize = 11;
/// Longest text that is looked at; separators included.
const MAX_TEXT_BYTES: usize = 32;

/// A phone number in E.164, for example `+8613800138000`. Neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// The text is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 11 digits of a mobile number in mainland China, or + and 7 to 15 digits (E.164)")]
pub struct NotAPhone;

impl Phone {
    /// Reads a number: 11 digits of a mobile number in mainland China, with or without `+86`, or E.164. Spaces, hyphens and
    /// parentheses are ignored.
    ///
    /// # Errors
    /// The text has another form.
    pub fn parse(text: &str) -> Result<Self, NotAPhone> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NotAPhone);
        }
        let compact: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '(' | ')'))
            .collect();
        let (international, digits) = match compact.strip_prefix('+') {
            Some(digits) => (true, digits),
            None => (false, compact.as_str()),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAPhone);
        }
        if !international {
            return if is_mainland(digits) {
                Ok(Self(format!("+86{digits}")))
            } else {
                Err(NotAPhone)
            };
        }
        let good = match digits.strip_prefix("86") {
            Some(national) => is_mainland(national),
            None => !digits.starts_with('0') && E164_DIGITS.contains(&digits.len()),
        };
        if good {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(NotAPhone)
        }
    }

    /// Returns the number in E.164. Not for logs.
    #[must_use]
    pub fn e164(&self) -> &str {
        &self.0
    }

    /// Returns the number with its middle hidden: `+86138****8000`.
    #[must_use]
    pub fn masked(&self) -> String {
        // A plus and 7 digits or more.
        let end = self.0.len() - 4;
        let begin = (end - 4).max(1);
        format!("{}****{}", &self.0[..begin], &self.0[end..])
    }
}

fn is_mainland(digits: &str) -> bool {
    digits.len() == MAINLAND_DIGITS && digits.starts_with('1') && !digits[1..].starts_with(['0', '1', '2'])
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_number_has_one_form() {
        for text in [
            "13800138000",
            "+8613800138000",
            "+86 138-0013-8000",
            "138 0013 8000",
        ] {
            assert_eq!(Phone::parse(text).unwrap().e164(), "+8613800138000", "{text}");
        }
        assert_eq!(Phone::parse("+1 (415) 555-2671").unwrap().e164(), "+14155552671");
    }

    #[test]
    fn what_reaches_nobody_is_refused() {
        let wrong = [
            "",
            "+",
            "1380013800",
            "138001380000",
            "12800138000",
            "+8612345",
            "+0123456789",
            "+1234567890123456",
            "phone",
            "１３８００１３８０００",
            "+86138\u{0}0138000",
            "                                        13800138000",
        ];
        for text in wrong {
            assert_eq!(Phone::parse(text), Err(NotAPhone), "{text:?}");
        }
    }

    #[test]
    fn a_masked_number_keeps_its_ends() {
        assert_eq!(Phone::parse("13800138000").unwrap().masked(), "+86138****8000");
        assert_eq!(Phone::parse("+1234567").unwrap().masked(), "+****4567");
    }

    #[test]
    fn debug_does_not_show_the_number() {
        let phone = Phone::parse("13800138000").unwrap();
        assert!(!format!("{phone:?}").contains("138"));
    }

    /// Texts of what numbers are written with, which are often one.
    fn written() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,40}",
            "[+0-9() -]{0,24}",
            "\\+[1-9][0-9]{5,15}",
            "(\\+86)?1[0-9]{10}",
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_has_one_form(text in written()) {
            if let Ok(phone) = Phone::parse(&text) {
                let digits = phone.e164().strip_prefix('+').unwrap();
                prop_assert!(E164_DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
                let again = Phone::parse(phone.e164()).unwrap();
                prop_assert_eq!(again.e164(), phone.e164());
            }
        }

        #[test]
        fn separators_and_the_country_change_nothing(
            national in "1[3-9][0-9]{9}",
            country in any::<bool>(),
            separators in prop::collection::vec((0..14_usize, "[ ()-]"), 0..8),
        ) {
            let mut text = format!("{}{national}", if country { "+86" } else { "" });
            for (at, separator) in separators {
                text.insert_str(at.min(text.len()), &separator);
            }
            let phone = Phone::parse(&text).unwrap();
            prop_assert_eq!(phone.e164(), format!("+86{national}"));
        }

        #[test]
        fn what_is_shown_hides_three_digits_or_more(text in "\\+[1-79][0-9]{6,14}") {
            let phone = Phone::parse(&text).unwrap();
            let masked = phone.masked();
            let (begin, end) = masked.split_once("****").unwrap();
            prop_assert!(text.starts_with(begin) && text.ends_with(end) && end.len() == 4);
            prop_assert!(begin.len() + end.len() + 3 <= text.len());
            let debug = format!("{phone:?}");
            prop_assert!(!debug.contains(char::is_numeric), "{}", debug);
        }
    }
}
