//! Pure types and decisions.

use chrono::{DateTime, Utc};
use ids::{EntryId, TaskId, UserId};

use crate::error::Error;

/// Largest amount of one grant or one reservation.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// Longest `grant_id` and `source`, in characters.
const MAX_TEXT_CHARS: usize = 200;
const MAX_PRIORITY: i32 = 1_000_000;
const DEFAULT_PRIORITY: i32 = 100;
const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;

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

/// What is known of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing.
    Free,
    /// A cancel came before any reserve.
    Marked,
    /// It has a reservation.
    Held(Reservation),
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

/// Decides about a reserve that could not insert its row: `None` if the task is free and only quota is lacking.
pub(crate) fn reserve_again(slot: Slot, wanted: &Reserve) -> Result<Option<Reservation>, Error> {
    let held = match slot {
        Slot::Free => return Ok(None),
        Slot::Marked => return Err(Error::Cancelled),
        Slot::Held(held) => held,
    };
    if held.user_id != wanted.user_id {
        return Err(Error::ReservationMismatch { field: "user_id" });
    }
    if held.amount != wanted.amount.get() {
        return Err(Error::ReservationMismatch { field: "amount" });
    }
    match held.phase {
        Phase::Reserved | Phase::Confirmed => Ok(Some(held)),
        Phase::Cancelled | Phase::Expired => Err(Error::Cancelled),
    }
}

/// Decides about a confirm that found no reservation in phase `reserved`.
pub(crate) fn confirm_again(slot: Slot) -> Result<Reservation, Error> {
    match slot {
        Slot::Free => Err(Error::NotFound),
        Slot::Marked => Err(Error::Cancelled),
        Slot::Held(held) => match held.phase {
            Phase::Confirmed => Ok(held),
            Phase::Cancelled | Phase::Expired => Err(Error::Cancelled),
            Phase::Reserved => Err(Error::Broken("a reserved reservation was not confirmed")),
        },
    }
}

/// What a cancel does that found no reservation in phase `reserved`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CancelAgain {
    /// Takes the task id.
    Mark,
    /// Nothing: the task id is taken already, or the reservation is given back already.
    Done(Option<Reservation>),
}

/// Decides about a cancel that found no reservation in phase `reserved`.
pub(crate) fn cancel_again(slot: Slot) -> Result<CancelAgain, Error> {
    match slot {
        Slot::Free => Ok(CancelAgain::Mark),
        Slot::Marked => Ok(CancelAgain::Done(None)),
        Slot::Held(held) => match held.phase {
            Phase::Cancelled | Phase::Expired => Ok(CancelAgain::Done(Some(held))),
            Phase::Confirmed => Err(Error::Confirmed),
            Phase::Reserved => Err(Error::Broken("a reserved reservation was not cancelled")),
        },
    }
}

/// A page of the ledger: its size, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) size: u32,
    /// Entries older than this one.
    pub(crate) before: Option<EntryId>,
}

impl Page {
    /// Reads a page of a user's ledger. A size above the limit is cut to it (AIP-158).
    pub(crate) fn new(user_id: UserId, size: u32, token: &str) -> Result<Self, Error> {
        let size = match size {
            0 => DEFAULT_PAGE,
            1..=MAX_PAGE => size,
            _ => MAX_PAGE,
        };
        let before = if token.is_empty() {
            None
        } else {
            Some(parse_token(user_id, token).ok_or(Error::PageToken)?)
        };
        Ok(Self { size, before })
    }
}

/// Returns the token of the page that follows `last`: both ids in hex. It is bound to the user.
pub(crate) fn page_token(user_id: UserId, last: EntryId) -> String {
    format!("{}{}", user_id.uuid().simple(), last.uuid().simple())
}

fn parse_token(user_id: UserId, token: &str) -> Option<EntryId> {
    let rest = token.strip_prefix(&user_id.uuid().simple().to_string())?;
    let entry_id = EntryId::from_uuid(uuid::Uuid::try_parse(rest).ok()?);
    (page_token(user_id, entry_id) == token).then_some(entry_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(phase: Phase) -> Reservation {
        Reservation {
            task_id: TaskId::new(),
            user_id: UserId::new(),
            amount: 3,
            phase,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn asked(held: &Reservation) -> Reserve {
        Reserve {
            user_id: held.user_id,
            task_id: held.task_id,
            amount: Amount::new(held.amount).unwrap(),
        }
    }

    #[test]
    fn a_repeated_reserve_gets_the_same_answer_until_it_is_cancelled() {
        for (phase, same) in [
            (Phase::Reserved, true),
            (Phase::Confirmed, true),
            (Phase::Cancelled, false),
            (Phase::Expired, false),
        ] {
            let held = held(phase);
            match reserve_again(Slot::Held(held.clone()), &asked(&held)) {
                Ok(found) => assert!(same && found == Some(held), "{phase:?}"),
                Err(error) => assert!(!same && matches!(error, Error::Cancelled), "{phase:?} {error}"),
            }
        }
        let wanted = asked(&held(Phase::Reserved));
        assert!(matches!(reserve_again(Slot::Free, &wanted), Ok(None)));
        assert!(matches!(
            reserve_again(Slot::Marked, &wanted),
            Err(Error::Cancelled)
        ));
    }

    #[test]
    fn a_different_reserve_is_a_mismatch_in_every_phase() {
        for phase in Phase::ALL {
            let held = held(phase);
            let other_user = Reserve {
                user_id: UserId::new(),
                ..asked(&held)
            };
            let other_amount = Reserve {
                amount: Amount::new(4).unwrap(),
                ..asked(&held)
            };
            for (wanted, name) in [(other_user, "user_id"), (other_amount, "amount")] {
                let error = reserve_again(Slot::Held(held.clone()), &wanted).unwrap_err();
                assert!(matches!(error, Error::ReservationMismatch { field } if field == name));
            }
        }
    }

    #[test]
    fn confirms_and_cancels_exclude_each_other() {
        let slot = |phase| Slot::Held(held(phase));
        assert!(matches!(confirm_again(Slot::Free), Err(Error::NotFound)));
        assert!(matches!(confirm_again(Slot::Marked), Err(Error::Cancelled)));
        assert!(confirm_again(slot(Phase::Confirmed)).is_ok());
        assert!(matches!(
            confirm_again(slot(Phase::Cancelled)),
            Err(Error::Cancelled)
        ));
        assert!(matches!(
            confirm_again(slot(Phase::Expired)),
            Err(Error::Cancelled)
        ));
        assert!(matches!(
            confirm_again(slot(Phase::Reserved)),
            Err(Error::Broken(_))
        ));

        assert!(matches!(cancel_again(Slot::Free), Ok(CancelAgain::Mark)));
        assert!(matches!(cancel_again(Slot::Marked), Ok(CancelAgain::Done(None))));
        for phase in [Phase::Cancelled, Phase::Expired] {
            assert!(matches!(
                cancel_again(slot(phase)),
                Ok(CancelAgain::Done(Some(_)))
            ));
        }
        assert!(matches!(
            cancel_again(slot(Phase::Confirmed)),
            Err(Error::Confirmed)
        ));
        assert!(matches!(
            cancel_again(slot(Phase::Reserved)),
            Err(Error::Broken(_))
        ));
    }

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

    #[test]
    fn a_page_token_belongs_to_its_user() {
        let (user, other, entry) = (UserId::new(), UserId::new(), EntryId::new());
        let token = page_token(user, entry);
        assert_eq!(
            Page::new(user, 0, &token).unwrap(),
            Page {
                size: 50,
                before: Some(entry)
            }
        );
        assert_eq!(
            Page::new(user, 9_999, "").unwrap(),
            Page {
                size: 500,
                before: None
            }
        );
        assert!(matches!(Page::new(other, 0, &token), Err(Error::PageToken)));
        assert!(matches!(
            Page::new(user, 0, &token.to_uppercase()),
            Err(Error::PageToken)
        ));
    }

    proptest! {
        #[test]
        fn no_token_makes_the_parser_panic(bits: u128, tail in ".{0,40}") {
            let user = UserId::from_uuid(uuid::Uuid::from_u128(bits));
            let token = format!("{}{tail}", user.uuid().simple());
            if let Ok(Page { before: Some(entry), .. }) = Page::new(user, 1, &token) {
                prop_assert_eq!(page_token(user, entry), token);
            }
        }
    }
}
