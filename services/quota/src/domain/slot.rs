//! What a call means for a task id that is taken.

use super::{Phase, Reservation, Reserve};
use crate::error::Error;

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

/// Decides about a confirm that found no reservation in phase `reserved`: `None` if there is one now.
pub(crate) fn confirm_again(slot: Slot) -> Result<Option<Reservation>, Error> {
    match slot {
        Slot::Free => Err(Error::NotFound),
        Slot::Marked => Err(Error::Cancelled),
        Slot::Held(held) => match held.phase {
            Phase::Confirmed => Ok(Some(held)),
            Phase::Cancelled | Phase::Expired => Err(Error::Cancelled),
            Phase::Reserved => Ok(None),
        },
    }
}

/// Decides about a cancel of a task id that is taken, but not by a reservation in phase `reserved`. Returns what was
/// given back before.
pub(crate) fn cancel_again(slot: Slot) -> Result<Option<Reservation>, Error> {
    match slot {
        Slot::Free => Err(Error::Broken("a task id is taken by nothing")),
        Slot::Marked => Ok(None),
        Slot::Held(held) => match held.phase {
            Phase::Cancelled | Phase::Expired => Ok(Some(held)),
            Phase::Confirmed => Err(Error::Confirmed),
            Phase::Reserved => Err(Error::Broken("a reserved reservation was not cancelled")),
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ids::{TaskId, UserId};

    use super::super::Amount;
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
        assert!(matches!(confirm_again(slot(Phase::Reserved)), Ok(None)));
        assert!(matches!(confirm_again(slot(Phase::Confirmed)), Ok(Some(_))));
        for phase in [Phase::Cancelled, Phase::Expired] {
            assert!(matches!(confirm_again(slot(phase)), Err(Error::Cancelled)));
            assert!(matches!(cancel_again(slot(phase)), Ok(Some(_))));
        }
        assert!(matches!(cancel_again(Slot::Marked), Ok(None)));
        assert!(matches!(
            cancel_again(slot(Phase::Confirmed)),
            Err(Error::Confirmed)
        ));
        for broken in [Slot::Free, slot(Phase::Reserved)] {
            assert!(matches!(cancel_again(broken), Err(Error::Broken(_))));
        }
    }
}
