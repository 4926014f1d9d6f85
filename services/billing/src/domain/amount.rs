//! Amounts of money that are more than nothing.

use pay::{Currency, Money};

/// Name of the one currency there is, as in the tables.
pub(crate) const CNY: &str = "CNY";

/// Most that one operation moves: a hundred million yuan.
const MAX: i64 = 10_000_000_000;

/// Minor units, 1 to 10,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(i64);

impl Amount {
    /// Checks an amount; `None` if it is out of range.
    pub(crate) fn new(minor: i64) -> Option<Self> {
        (1..=MAX).contains(&minor).then_some(Self(minor))
    }

    pub(crate) const fn minor(self) -> i64 {
        self.0
    }

    /// The amount in the one currency there is.
    pub(crate) const fn money(self) -> Money {
        Money {
            amount_minor: self.0,
            currency: Currency::Cny,
        }
    }
}
