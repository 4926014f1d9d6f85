//! Amounts of money.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A currency. Both providers settle in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Currency {
    /// Renminbi; the minor unit is the fen.
    #[serde(rename = "CNY")]
    Cny,
}

/// An amount in minor units of a currency. It may be negative: a correction in a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units: fen.
    pub amount_minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// What is wrong with an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not an amount with at most two decimals.
    #[error("not an amount with at most two decimals")]
    Syntax,
    /// The result does not fit.
    #[error("the amount is out of range")]
    Range,
    /// The currency is unknown, or the amounts have different ones.
    #[error("the currency is another one")]
    Currency,
}

impl Currency {
    /// Returns the code of ISO 4217.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cny => "CNY",
        }
    }

    /// Reads a code of ISO 4217.
    ///
    /// # Errors
    /// [`MoneyError::Currency`] if the currency is not one of ours.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        match code {
            "CNY" => Ok(Self::Cny),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Money {
    /// Makes an amount of renminbi.
    #[must_use]
    pub const fn cny(fen: i64) -> Self {
        Self {
            amount_minor: fen,
            currency: Currency::Cny,
        }
    }

    /// Says whether the amount is more than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.amount_minor > 0
    }

    /// Adds.
    ///
    /// # Errors
    /// [`MoneyError`] if the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// Subtracts.
    ///
    /// # Errors
    /// [`MoneyError`] if the currencies differ or the difference does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Self, op: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currency);
        }
        let amount_minor = op(self.amount_minor, other.amount_minor).ok_or(MoneyError::Range)?;
        Ok(Self {
            amount_minor,
            currency: self.currency,
        })
    }

    /// Reads yuan as the providers write them: `12`, `12.3`, `12.34`, `-0.01`. Exact; more decimals are an error.
    ///
    /// # Errors
    /// [`MoneyError`] if the text is not such an amount.
    pub fn parse_yuan(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(MoneyError::Syntax),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || fraction.len() > 2 || !all_digits(fraction) {
            return Err(MoneyError::Syntax);
        }
        // Negative all the way, so that the smallest amount can be read as well.
        let mut fen: i64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()).chain(
            // Tenths are the only case with a digit missing.
            std::iter::repeat_n(b'0', 2 - fraction.len()),
        ) {
            fen = fen
                .checked_mul(10)
                .and_then(|fen| fen.checked_sub(i64::from(digit - b'0')))
                .ok_or(MoneyError::Range)?;
        }
        if !negative {
            fen = fen.checked_neg().ok_or(MoneyError::Range)?;
        }
        Ok(Self::cny(fen))
    }

    /// Writes yuan with two decimals: `12.30`.
    #[must_use]
    pub fn to_yuan(self) -> String {
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let fen = self.amount_minor.unsigned_abs();
        format!("{sign}{}.{:02}", fen / 100, fen % 100)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_yuan(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn yuan_are_read_exactly() {
        for (text, fen) in [
            ("0", 0),
            ("12", 1200),
            ("12.3", 1230),
            ("0.29", 29),
            ("-0.01", -1),
            ("007.10", 710),
            ("92233720368547758.07", i64::MAX),
            ("-92233720368547758.08", i64::MIN),
        ] {
            assert_eq!(Money::parse_yuan(text), Ok(Money::cny(fen)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in [
            "", "-", ".", "1.", ".5", "1.234", "1,00", "+1", " 1", "1e2", "--1", "1.-1", "一",
        ] {
            assert_eq!(Money::parse_yuan(text), Err(MoneyError::Syntax), "{text}");
        }
        for text in [
            "92233720368547758.08",
            "-92233720368547758.09",
            "99999999999999999999",
        ] {
            assert_eq!(Money::parse_yuan(text), Err(MoneyError::Range), "{text}");
        }
    }

    #[test]
    fn sums_do_not_wrap() {
        assert_eq!(
            Money::cny(i64::MAX).checked_add(Money::cny(1)),
            Err(MoneyError::Range)
        );
        assert_eq!(
            Money::cny(i64::MIN).checked_sub(Money::cny(1)),
            Err(MoneyError::Range)
        );
        assert_eq!(Money::cny(5).checked_sub(Money::cny(7)), Ok(Money::cny(-2)));
    }

    proptest! {
        #[test]
        fn every_amount_is_read_as_it_was_written(fen: i64) {
            let money = Money::cny(fen);
            prop_assert_eq!(Money::parse_yuan(&money.to_yuan()), Ok(money));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            if let Ok(money) = Money::parse_yuan(&text) {
                prop_assert_eq!(Money::parse_yuan(&money.to_yuan()), Ok(money));
            }
        }
    }
}
