//! What a provider says happened on a day.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeZone, Utc};

use crate::{Money, RefundState};

/// A day's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The day, in Beijing.
    pub day: NaiveDate,
    /// Payments and refunds, as the provider lists them.
    pub lines: Vec<BillLine>,
}

/// A payment or a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// Merchant's number of the payment. As the provider has it: it may be none of ours.
    pub payment: String,
    /// Merchant's number of the refund and where it stands, if this is a refund.
    pub refund: Option<(String, RefundState)>,
    /// Provider's number of the payment.
    pub provider_no: String,
    /// What was paid, or what went back. Not negative.
    pub amount: Money,
    /// The provider's fee, in millionths of a yuan: WeChat states it more finely than in fen. Negative where it is given back.
    pub fee_micros: i64,
    /// When.
    pub at: DateTime<Utc>,
}

/// Beijing's offset; China has one time and no summer time.
pub(crate) fn beijing() -> FixedOffset {
    FixedOffset::east_opt(8 * 60 * 60).expect("eight hours are less than a day")
}

/// Reads `2026-11-21 10:00:00` in Beijing.
pub(crate) fn beijing_time(text: &str) -> Option<DateTime<Utc>> {
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    beijing()
        .from_local_datetime(&naive)
        .single()
        .map(|at| at.with_timezone(&Utc))
}

/// Reads yuan with up to six decimals as millionths.
pub(crate) fn micros(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let micros = whole.checked_mul(1_000_000)?.checked_add(fraction)?;
    Some(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_bills_are_beijing_times() {
        let at = beijing_time("2026-11-21 08:00:00").unwrap();
        assert_eq!(at.to_rfc3339(), "2026-11-21T00:00:00+00:00");
        assert_eq!(beijing_time("2026-11-31 08:00:00"), None);
    }

    #[test]
    fn fees_are_exact() {
        for (text, expected) in [("0.00600", 6_000), ("-0.06", -60_000), ("1", 1_000_000)] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        for text in ["", "-", "1.0000001", "1,0", "99999999999999"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in ".{0,30}") {
            let _ = (micros(&text), beijing_time(&text));
        }
    }
}
