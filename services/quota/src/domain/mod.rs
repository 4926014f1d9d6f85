//! Pure types and decisions.

mod page;
mod slot;

use chrono::{DateTime, Utc};
use ids::{EntryId, TaskId, UserId};

use crate::error::Error;

pub(crate) use page::{Page, page_token};
pub(crate) use slot::{Slot, cancel_again, confirm_again, reserve_again};

/// Largest amount of one grant or one reservation.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// Longest `grant_id` and `source`, in characters.
const MAX_TEXT_CHARS: usize = 200;
const MAX_PRIORITY: i32 = 1_000_000;
const DEFAULT_PRIORITY: i32 = 100;

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

    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

/// A client-chosen id of a grant, 1 to 200 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantId(String);

impl GrantId {
    pub(crate) fn new(text: String) -> Result<Self, Error> {
        if !text.is_empty() && printable(&text) {
            Ok(Self(text))
        } else {
            Err(Error::Invalid {
                field: "grant_id",
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

/// A grant to be made.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) grant_id: GrantId,
    pub(crate) user_id: UserId,
    pub(crate) amount: Amount,
    pub(crate) priority: i32,
    pub(crate) source: String,
}

impl Grant {
    pub(crate) fn new(
        grant_id: String,
        user_id: UserId,
        amount: i64,
        priority: i32,
        source: String,
    ) -> Result<Self, Error> {
        let grant_id = GrantId::new(grant_id)?;
        let amount = Amount::new(amount)?;
        let priority = match priority {
            0 => DEFAULT_PRIORITY,
            1..=MAX_PRIORITY => priority,
            _ => {
                return Err(Error::Invalid {
                    field: "priority",
                    problem: "must be 0 to 1,000,000",
                });
            }
        };
        if !printable(&source) {
            return Err(Error::Invalid {
                field: "source",
                problem: "must be at most 200 characters, none of them a control character",
            });
        }
        Ok(Self {
            grant_id,
            user_id,
            amount,
            priority,
            source,
        })
    }
}

/// A reservation to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserve {
    pub(crate) user_id: UserId,
    pub(crate) task_id: TaskId,
    pub(crate) amount: Amount,
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
    pub(crate) phase: Phase,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) user_id: UserId,
    pub(crate) granted: i64,
    pub(crate) available: i64,
    pub(crate) reserved: i64,
    pub(crate) consumed: i64,
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
    pub(crate) task_id: Option<TaskId>,
    pub(crate) grant_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_bounds() {
        assert_eq!(Amount::or_one(0).unwrap().get(), 1);
        assert_eq!(Amount::new(MAX_AMOUNT).unwrap().get(), MAX_AMOUNT);
        for amount in [0, -1, MAX_AMOUNT + 1, i64::MIN, i64::MAX] {
            assert!(Amount::new(amount).is_err(), "{amount}");
        }
    }

    #[test]
    fn grants_have_bounds() {
        let grant = |id: &str, priority, source: &str| {
            Grant::new(id.to_owned(), UserId::new(), 1, priority, source.to_owned())
        };
        assert_eq!(grant("g", 0, "").unwrap().priority, 100);
        assert_eq!(grant("订单-1", 7, "充值").unwrap().priority, 7);
        let long = "x".repeat(201);
        for (id, priority, source) in [
            ("", 0, ""),
            (long.as_str(), 0, ""),
            ("a\0b", 0, ""),
            ("g", -1, ""),
            ("g", 1_000_001, ""),
            ("g", 0, long.as_str()),
            ("g", 0, "a\nb"),
        ] {
            assert!(
                matches!(grant(id, priority, source), Err(Error::Invalid { .. })),
                "{id:?} {priority} {source:?}"
            );
        }
    }
}
