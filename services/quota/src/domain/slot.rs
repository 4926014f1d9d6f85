//! What a call means for a task id that is taken.

use super::{Amount, Phase, Reservation, Reserve};
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
        Phase::Cancelled => Err(Error::Cancelled),
        Phase::Expired => Err(Error::Expired),
    }
}

/// Decides about a confirm of `amount`, or of everything, that was not made: `None` if there is a reservation now.
pub(crate) fn confirm_again(slot: Slot, amount: Option<Amount>) -> Result<Option<Reservation>, Error> {
    let held = match slot {
        Slot::Free => return Err(Error::NotFound),
        Slot::Marked => return Err(Error::Cancelled),
        Slot::Held(held) => held,
    };
    let wanted = amount.map_or(held.amount, Amount::get);
    match held.phase {
        Phase::Confirmed if wanted == held.amount - held.released => Ok(Some(held)),
        Phase::Confirmed => Err(Error::ReservationMismatch { field: "amount" }),
        Phase::Cancelled => Err(Error::Cancelled),
        Phase::Expired => Err(Error::Expired),
        Phase::Reserved if wanted > held.amount => Err(Error::Invalid {
            field: "amount",
            problem: "is more than what is reserved",
        }),
        Phase::Reserved => Ok(None),
    }
}

/// Decides about an extension that found no live reservation.
pub(crate) fn extend_again(slot: Slot) -> Error {
    match slot {
        Slot::Free => Error::NotFound,
        Slot::Marked => Error::Cancelled,
        Slot::Held(held) => match held.phase {
            Phase::Confirmed => Error::Confirmed,
            Phase::Cancelled => Error::Cancelled,
            // It ran out between the two looks, or was made between them: then it was asked for too early.
            Phase::Expired => Error::Expired,
            Phase::Reserved => Error::NotFound,
        },
    }
}

/// Decides about a cancel of a task id that is taken, but by nothing that is set aside. Returns what was given back
/// before.
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
            released: 0,
            phase,
            open: phase == Phase::Reserved,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    fn asked(held: &Reservation) -> Reserve {
        Reserve {
            user_id: held.user_id,
            task_id: held.task_id,
            amount: Amount::new(held.amount).unwrap(),
            hold: None,
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
                Err(Error::Cancelled) => assert_eq!(phase, Phase::Cancelled),
                Err(error) => assert!(!same && matches!(error, Error::Expired), "{phase:?} {error}"),
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
        let confirm = |slot| confirm_again(slot, None);
        assert!(matches!(confirm(Slot::Free), Err(Error::NotFound)));
        assert!(matches!(confirm(Slot::Marked), Err(Error::Cancelled)));
        assert!(matches!(confirm(slot(Phase::Reserved)), Ok(None)));
        assert!(matches!(confirm(slot(Phase::Confirmed)), Ok(Some(_))));
        assert!(matches!(confirm(slot(Phase::Cancelled)), Err(Error::Cancelled)));
        assert!(matches!(confirm(slot(Phase::Expired)), Err(Error::Expired)));
        for phase in [Phase::Cancelled, Phase::Expired] {
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

    #[test]
    fn a_repeated_confirm_of_another_amount_is_a_mismatch() {
        let partly = Reservation {
            released: 1,
            ..held(Phase::Confirmed)
        };
        let confirm = |held: &Reservation, amount| {
            confirm_again(Slot::Held(held.clone()), Some(Amount::new(amount).unwrap()))
        };
        assert_eq!(confirm(&partly, 2).unwrap(), Some(partly.clone()));
        assert!(confirm_again(Slot::Held(partly.clone()), None).is_err());
        for amount in [1, 3] {
            let error = confirm(&partly, amount).unwrap_err();
            assert!(matches!(error, Error::ReservationMismatch { field: "amount" }));
        }
        let error = confirm(&held(Phase::Reserved), 4).unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "amount", .. }));
    }

    #[test]
    fn what_is_over_is_not_extended() {
        assert!(matches!(extend_again(Slot::Free), Error::NotFound));
        assert!(matches!(extend_again(Slot::Marked), Error::Cancelled));
        for (phase, name) in [
            (Phase::Confirmed, "confirmed"),
            (Phase::Cancelled, "cancelled"),
            (Phase::Expired, "expired"),
        ] {
            let error = extend_again(Slot::Held(held(phase))).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
