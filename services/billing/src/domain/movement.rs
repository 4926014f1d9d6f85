//! Movements of commission.

use super::Amount;

/// A movement of commission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Movement {
    /// It was earned.
    Credited,
    /// A withdrawal takes it: it is not available any more.
    Frozen,
    /// The withdrawal has failed: it is available again.
    Unfrozen,
    /// The withdrawal has succeeded.
    Withdrawn,
}

/// What a movement adds to each part of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deltas {
    pub(crate) earned: i64,
    pub(crate) available: i64,
    pub(crate) frozen: i64,
    pub(crate) withdrawn: i64,
}

impl Movement {
    /// Returns the name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Credited => "credited",
            Self::Frozen => "frozen",
            Self::Unfrozen => "unfrozen",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(crate) const fn deltas(self, amount: Amount) -> Deltas {
        let minor = amount.minor();
        let (earned, available, frozen, withdrawn) = match self {
            Self::Credited => (minor, minor, 0, 0),
            Self::Frozen => (0, -minor, minor, 0),
            Self::Unfrozen => (0, minor, -minor, 0),
            Self::Withdrawn => (0, 0, -minor, minor),
        };
        Deltas {
            earned,
            available,
            frozen,
            withdrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_movement_makes_or_loses_money() {
        let amount = Amount::new(7).unwrap();
        for movement in [
            Movement::Credited,
            Movement::Frozen,
            Movement::Unfrozen,
            Movement::Withdrawn,
        ] {
            let deltas = movement.deltas(amount);
            let parts = deltas.available + deltas.frozen + deltas.withdrawn;
            assert_eq!(deltas.earned, parts, "{movement:?}");
        }
    }
}
