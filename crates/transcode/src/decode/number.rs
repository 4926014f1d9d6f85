//! Numbers, exactly.

/// Says why text is not an integer of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotInteger {
    /// It has a fraction.
    Fraction,
    /// No 64-bit integer is that large.
    Range,
}

/// Reads a JSON number that is an integer, however it is written: `100`, `1e2`, `100.0`. Nothing is rounded on the way.
///
/// `text` must be a number as JSON writes them.
///
/// # Errors
/// A fraction that is not zero, or more than 19 digits before it.
pub(crate) fn integer(text: &str) -> Result<i128, NotInteger> {
    /// Of u64::MAX, and one more for what is out of its range by little.
    const MAX_DIGITS: usize = 21;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole == "0" && fraction.is_empty() {
        return Ok(0);
    }
    // An exponent that is not an i32 moves the point further than any body is long.
    let exponent = exponent.parse::<i32>().map_err(|_| {
        if exponent.starts_with('-') {
            NotInteger::Fraction
        } else {
            NotInteger::Range
        }
    })?;
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    let count = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    // Zeros behind the last significant digit, once the point has moved.
    let zeros = i64::from(exponent) - count(fraction) + count(digits) - count(significant);
    let Ok(zeros) = usize::try_from(zeros) else {
        return Err(NotInteger::Fraction);
    };
    if significant.len().saturating_add(zeros) > MAX_DIGITS {
        return Err(NotInteger::Range);
    }
    let value = format!("{significant}{}", "0".repeat(zeros))
        .parse::<i128>()
        .map_err(|_| NotInteger::Range)?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", Ok(0))]
    #[case("-0", Ok(0))]
    #[case("0.000e99999999999", Ok(0))]
    #[case("9007199254740993", Ok(9_007_199_254_740_993))]
    #[case("18446744073709551615", Ok(18_446_744_073_709_551_615))]
    #[case("-9223372036854775808", Ok(-9_223_372_036_854_775_808))]
    #[case("1e2", Ok(100))]
    #[case("100.0", Ok(100))]
    #[case("1.5e1", Ok(15))]
    #[case("0.001e3", Ok(1))]
    #[case("1500e-2", Ok(15))]
    #[case("1.5", Err(NotInteger::Fraction))]
    #[case("1e-1", Err(NotInteger::Fraction))]
    #[case("1e-99999999999", Err(NotInteger::Fraction))]
    #[case("1e99999999999", Err(NotInteger::Range))]
    #[case("1e2147483647", Err(NotInteger::Range))]
    #[case("1e400", Err(NotInteger::Range))]
    #[case("1000000000000000000000000", Err(NotInteger::Range))]
    fn integers_are_read_exactly(#[case] text: &str, #[case] integer: Result<i128, NotInteger>) {
        assert_eq!(super::integer(text), integer);
    }

    proptest! {
        #[test]
        fn every_64_bit_integer_is_read_in_every_spelling(value in any::<i64>(), zeros in 0..8_usize) {
            let value = i128::from(value);
            prop_assert_eq!(integer(&value.to_string()), Ok(value));
            prop_assert_eq!(integer(&format!("{value}.{}", "0".repeat(zeros + 1))), Ok(value));
            prop_assert_eq!(integer(&format!("{value}{}e-{zeros}", "0".repeat(zeros))), Ok(value));
        }
    }
}
