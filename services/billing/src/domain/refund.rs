//! Refunds: what can be given back, what that takes from the buyer, and what a provider's word changes.

use pay::RefundState;
use proto::billing::v1 as pb;

use super::{OrderStatus, PaymentStatus, RefundStatus};
use crate::error::Error;

/// Most refunds of one payment. Providers take no more.
const MAX_REFUNDS: i32 = 50;

/// Why money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundCause {
    Requested,
    Late,
    Compensation,
}

impl RefundCause {
    const ALL: [Self; 3] = [Self::Requested, Self::Late, Self::Compensation];

    /// Returns the name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Late => "LATE",
            Self::Compensation => "COMPENSATION",
        }
    }

    /// Reads a name of the table.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Reads the cause of a message; `None` if it is unspecified.
    pub(crate) const fn from_message(cause: pb::RefundCause) -> Option<Self> {
        match cause {
            pb::RefundCause::Unspecified => None,
            pb::RefundCause::Requested => Some(Self::Requested),
            pb::RefundCause::Late => Some(Self::Late),
            pb::RefundCause::Compensation => Some(Self::Compensation),
        }
    }
}

impl From<RefundCause> for pb::RefundCause {
    fn from(cause: RefundCause) -> Self {
        match cause {
            RefundCause::Requested => Self::Requested,
            RefundCause::Late => Self::Late,
            RefundCause::Compensation => Self::Compensation,
        }
    }
}

/// A payment, as far as it decides what can be given back. Amounts are minor units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) status: PaymentStatus,
    pub(crate) late: bool,
    pub(crate) order: OrderStatus,
    pub(crate) amount: i64,
    pub(crate) refunded: i64,
    pub(crate) refunds: i32,
}

impl Standing {
    /// Returns what goes back if `wanted` is asked for; 0 asks for all that is left.
    ///
    /// What was paid late is no payment of its order: it goes back as a whole, whatever the order is.
    pub(crate) fn refundable(&self, cause: RefundCause, wanted: i64) -> Result<i64, Error> {
        let no = |why| Err(Error::NotRefundable(why));
        match self.status {
            PaymentStatus::Success => {}
            PaymentStatus::Refunding => return Err(Error::RefundOpen),
            PaymentStatus::Refunded => return no("nothing of it is left"),
            PaymentStatus::Pending | PaymentStatus::Closed | PaymentStatus::Failed => {
                return no("it is not paid");
            }
        }
        if self.refunds >= MAX_REFUNDS {
            return no("it was refunded 50 times");
        }
        match (self.late, cause, self.order) {
            (true, _, _)
            | (false, RefundCause::Requested, OrderStatus::Completed)
            | (false, RefundCause::Compensation, OrderStatus::Paid) => {}
            (false, RefundCause::Late, _) => return no("it is not late"),
            (false, RefundCause::Requested, _) => return no("its order is not completed"),
            (false, RefundCause::Compensation, _) => return no("its order is not waiting for its goods"),
        }
        let left = self.amount - self.refunded;
        let amount = if wanted == 0 { left } else { wanted };
        if amount > left {
            return Err(Error::RefundTooLarge { wanted, left });
        }
        if self.late && amount != left {
            return no("what was paid late goes back as a whole");
        }
        Ok(amount)
    }

    /// Returns how much of the order's quota a refund takes back: `None` nothing, 0 everything.
    ///
    /// A part takes its share, rounded down in the buyer's favour; the refund that gives back the rest takes everything.
    pub(crate) fn clawback(&self, cause: RefundCause, amount: i64, quota: i64) -> Option<i64> {
        // The purchase that is undone takes back what it granted, and what was paid late granted nothing.
        if quota == 0 || self.late || cause != RefundCause::Requested {
            return None;
        }
        if self.refunded + amount == self.amount {
            return Some(0);
        }
        let share = i128::from(quota) * i128::from(amount) / i128::from(self.amount);
        i64::try_from(share).ok().filter(|share| *share > 0)
    }
}

/// What a provider's word means for a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that is not known, or older than what is.
    Nothing,
    Becomes(RefundStatus),
    /// It cannot be: a person has to look.
    Contradiction,
}

/// Compares what a provider says of a refund with what is known.
pub(crate) const fn heard(known: RefundStatus, told: RefundState) -> Heard {
    match (known, told) {
        (RefundStatus::Processing | RefundStatus::Abnormal, RefundState::Succeeded) => {
            Heard::Becomes(RefundStatus::Succeeded)
        }
        (RefundStatus::Processing | RefundStatus::Abnormal, RefundState::Closed) => {
            Heard::Becomes(RefundStatus::Closed)
        }
        (RefundStatus::Processing, RefundState::Abnormal) => Heard::Becomes(RefundStatus::Abnormal),
        (RefundStatus::Processing, RefundState::Processing)
        | (RefundStatus::Abnormal, RefundState::Processing | RefundState::Abnormal)
        | (
            RefundStatus::Succeeded,
            RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded,
        )
        | (RefundStatus::Closed, RefundState::Processing | RefundState::Abnormal | RefundState::Closed)
        | (RefundStatus::Failed, RefundState::Closed) => Heard::Nothing,
        // Asked for by nobody, or money that went back after we had said that it did not, or the other way round.
        (RefundStatus::Pending, _)
        | (RefundStatus::Succeeded, RefundState::Closed)
        | (RefundStatus::Closed, RefundState::Succeeded)
        | (RefundStatus::Failed, RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded) => {
            Heard::Contradiction
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Machine as _;

    const PAID: Standing = Standing {
        status: PaymentStatus::Success,
        late: false,
        order: OrderStatus::Completed,
        amount: 1_000,
        refunded: 0,
        refunds: 0,
    };

    #[test]
    fn only_what_is_paid_and_delivered_goes_back_on_request() {
        let wanted = |standing: Standing| standing.refundable(RefundCause::Requested, 0);
        assert_eq!(wanted(PAID).unwrap(), 1_000);
        for status in [
            PaymentStatus::Pending,
            PaymentStatus::Closed,
            PaymentStatus::Failed,
            PaymentStatus::Refunded,
        ] {
            let refused = wanted(Standing { status, ..PAID });
            assert!(matches!(refused, Err(Error::NotRefundable(_))), "{status:?}");
        }
        let open = wanted(Standing {
            status: PaymentStatus::Refunding,
            ..PAID
        });
        assert!(matches!(open, Err(Error::RefundOpen)));
        for order in [OrderStatus::Paid, OrderStatus::Cancelled, OrderStatus::Refunded] {
            assert!(wanted(Standing { order, ..PAID }).is_err(), "{order:?}");
            assert_eq!(
                wanted(Standing {
                    order,
                    late: true,
                    ..PAID
                })
                .unwrap(),
                1_000
            );
        }
        assert!(wanted(Standing { refunds: 50, ..PAID }).is_err());
    }

    #[test]
    fn a_purchase_that_is_undone_is_not_completed() {
        let undone = |order| Standing { order, ..PAID }.refundable(RefundCause::Compensation, 0);
        assert!(undone(OrderStatus::Paid).is_ok());
        assert!(undone(OrderStatus::Completed).is_err());
        assert!(PAID.refundable(RefundCause::Late, 0).is_err());
    }

    #[test]
    fn more_than_is_left_is_refused_and_said() {
        let part = Standing {
            refunded: 900,
            ..PAID
        };
        assert_eq!(part.refundable(RefundCause::Requested, 100).unwrap(), 100);
        let refused = part.refundable(RefundCause::Requested, 101);
        assert!(matches!(
            refused,
            Err(Error::RefundTooLarge {
                wanted: 101,
                left: 100
            })
        ));
        let late = Standing { late: true, ..PAID };
        assert!(late.refundable(RefundCause::Late, 999).is_err());
    }

    #[test]
    fn a_part_takes_its_share_and_the_last_takes_the_rest() {
        assert_eq!(PAID.clawback(RefundCause::Requested, 333, 10), Some(3));
        assert_eq!(PAID.clawback(RefundCause::Requested, 99, 10), None);
        assert_eq!(PAID.clawback(RefundCause::Requested, 1_000, 10), Some(0));
        let rest = Standing {
            refunded: 990,
            ..PAID
        };
        assert_eq!(rest.clawback(RefundCause::Requested, 10, 10), Some(0));
        assert_eq!(PAID.clawback(RefundCause::Requested, 1_000, 0), None);
        assert_eq!(PAID.clawback(RefundCause::Compensation, 1_000, 10), None);
        assert_eq!(
            Standing { late: true, ..PAID }.clawback(RefundCause::Requested, 1_000, 10),
            None
        );
    }

    proptest! {
        #[test]
        fn parts_never_take_more_than_was_granted(parts in prop::collection::vec(1_i64..400, 1..6), quota in 1_i64..1_000_000_000_000) {
            let amount = parts.iter().sum::<i64>() + 1;
            let mut standing = Standing { amount, ..PAID };
            let mut taken = 0;
            for part in parts {
                taken += standing.clawback(RefundCause::Requested, part, quota).unwrap_or(0);
                standing.refunded += part;
            }
            prop_assert!(taken <= quota);
            prop_assert_eq!(standing.clawback(RefundCause::Requested, 1, quota), Some(0));
        }
    }

    #[test]
    fn what_is_heard_twice_or_late_changes_nothing() {
        let states = [
            RefundState::Processing,
            RefundState::Succeeded,
            RefundState::Closed,
            RefundState::Abnormal,
        ];
        for (known, name) in RefundStatus::NAMES {
            for told in states {
                if let Heard::Becomes(to) = heard(*known, told) {
                    assert!(known.can_become(to), "{name} cannot become {to:?}");
                    assert_eq!(heard(to, told), Heard::Nothing, "{name} {told:?} twice");
                    assert_eq!(heard(to, RefundState::Processing), Heard::Nothing);
                }
            }
        }
        assert_eq!(
            heard(RefundStatus::Failed, RefundState::Succeeded),
            Heard::Contradiction
        );
        assert_eq!(
            heard(RefundStatus::Closed, RefundState::Succeeded),
            Heard::Contradiction
        );
    }
}
