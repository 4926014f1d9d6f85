//! Pure types and decisions.

mod clawback;
mod grant;
mod page;
mod slot;

use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::{EntryId, TaskId, UserId};

use crate::error::Error;

pub(crate) use clawback::{Claim, ClawBack, ClawedBack, Owed, Part, Settlement, plan, settle};
pub(crate) use grant::{Grant, GrantKind, Line, Note, Priority, Source, StoredGrant, grant_id};
pub(crate) use page::Page;
pub(crate) use slot::{Slot, cancel_again, confirm_again, extend_again, reserve_again};

/// Largest amount of one grant or one reservation.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// Shortest and longest time that a reservation may be asked to stand.
pub(crate) const HOLD: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(30 * 24 * 60 * 60));

/// Longest id and note, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// An amount of quota, 1 to [`MAX_AMOUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount(i64);

impl Amount {
    pub(crate) fn new(amount: i64) -> Result<Self, Error> {
        if (1..=MAX_AMOUNT).contains(&amount) {
            Ok(Self(amount))
        } else {
            Err(Error::Invalid {
                field: "amount",
                problem: "must be 1 to 1,000,000,000,000",
            })
        }
    }

    /// Reads an amount whose absence (0) means 1.
    pub(crate) fn or_one(amount: i64) -> Result<Self, Error> {
        Self::new(if amount == 0 { 1 } else { amount })
    }

    /// Reads an amount whose absence (0) means everything.
    pub(crate) fn or_all(amount: i64) -> Result<Option<Self>, Error> {
        if amount == 0 {
            Ok(None)
        } else {
            Self::new(amount).map(Some)
        }
    }

    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

/// An id that clients choose, 1 to 200 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChosenId(String);

impl ChosenId {
    pub(crate) fn new(field: &'static str, text: String) -> Result<Self, Error> {
        if !text.is_empty() && printable(&text) {
            Ok(Self(text))
        } else {
            Err(Error::Invalid {
                field,
                problem: "must be 1 to 200 characters, none of them a control character",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn printable(text: &str) -> bool {
    text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(char::is_control)
}

/// How long a reservation is asked to stand, within [`HOLD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold(Duration);

impl Hold {
    pub(crate) fn new(hold: Duration) -> Result<Self, Error> {
        if (HOLD.0..=HOLD.1).contains(&hold) {
            Ok(Self(hold))
        } else {
            Err(Error::Invalid {
                field: "hold_for",
                problem: "must be 1 s to 30 days",
            })
        }
    }

    pub(crate) const fn get(self) -> Duration {
        self.0
    }
}

/// A reservation to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserve {
    pub(crate) user_id: UserId,
    pub(crate) task_id: TaskId,
    pub(crate) amount: Amount,
    /// As the settings say if absent.
    pub(crate) hold: Option<Hold>,
}

/// Where a reservation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Reserved,
    Confirmed,
    Cancelled,
    Expired,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Reserved, Self::Confirmed, Self::Cancelled, Self::Expired];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// Quota set aside for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) task_id: TaskId,
    pub(crate) user_id: UserId,
    pub(crate) amount: i64,
    /// What a partial confirm gave back.
    pub(crate) released: i64,
    /// `Expired` as soon as its time is over, also before anything was given back.
    pub(crate) phase: Phase,
    /// Whether its quota is still set aside.
    pub(crate) open: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// Absent in old rows.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// What a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) user_id: UserId,
    pub(crate) granted: i64,
    pub(crate) available: i64,
    pub(crate) reserved: i64,
    pub(crate) consumed: i64,
    pub(crate) expired: i64,
    pub(crate) clawed_back: i64,
}

/// One movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) entry_id: EntryId,
    pub(crate) kind: String,
    pub(crate) granted_delta: i64,
    pub(crate) available_delta: i64,
    pub(crate) reserved_delta: i64,
    pub(crate) consumed_delta: i64,
    pub(crate) expired_delta: i64,
    pub(crate) clawed_back_delta: i64,
    pub(crate) task_id: Option<TaskId>,
    pub(crate) grant_id: Option<String>,
    pub(crate) clawback_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_bounds() {
        assert_eq!(Amount::or_one(0).unwrap().get(), 1);
        assert_eq!(Amount::or_all(0).unwrap(), None);
        assert_eq!(Amount::new(MAX_AMOUNT).unwrap().get(), MAX_AMOUNT);
        for amount in [-1, MAX_AMOUNT + 1, i64::MIN, i64::MAX] {
            assert!(Amount::new(amount).is_err(), "{amount}");
            assert!(Amount::or_all(amount).is_err(), "{amount}");
        }
        assert!(Amount::new(0).is_err());
    }

    #[test]
    fn chosen_ids_have_bounds() {
        assert_eq!(
            ChosenId::new("grant_id", "订单-1".to_owned()).unwrap().as_str(),
            "订单-1"
        );
        for text in ["", "a\0b", "a\nb", &"x".repeat(201)] {
            let error = ChosenId::new("grant_id", text.to_owned()).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Invalid {
                        field: "grant_id",
                        ..
                    }
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn holds_have_bounds() {
        for hold in [HOLD.0, HOLD.1] {
            assert_eq!(Hold::new(hold).unwrap().get(), hold);
        }
        for hold in [
            Duration::ZERO,
            HOLD.0 / 2,
            HOLD.1 + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            assert!(Hold::new(hold).is_err(), "{hold:?}");
        }
    }
}
