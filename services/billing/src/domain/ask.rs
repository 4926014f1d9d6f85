//! What a provider is asked next about a payment. Pure: everything it depends on is in the row.

use super::PaymentStatus;

/// Where a payment is with its channel, and how it is with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) status: PaymentStatus,
    /// A step has been told to call the channel: the channel may know the payment.
    pub(crate) called: bool,
    /// There is something to scan.
    pub(crate) has_url: bool,
    pub(crate) closing: bool,
    /// The time for which it could be paid is over.
    pub(crate) expired: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing: the outcome is known.
    Nothing,
    /// Nothing so far: nobody has told the channel of it.
    NotYet,
    /// Nothing, and it can be closed here: the channel has never heard of it, and will not.
    CloseHere,
    /// The channel is told of it.
    Create,
    /// Whether it was paid.
    Query,
    /// To close it; then whether it was paid before.
    Close,
}

/// Says what is asked.
pub(crate) const fn ask(at: Known) -> Ask {
    match at.status {
        PaymentStatus::Success
        | PaymentStatus::Refunding
        | PaymentStatus::Refunded
        | PaymentStatus::Failed => Ask::Nothing,
        // A channel that knows a payment only after its code was scanned may still hear of this one.
        PaymentStatus::Closed if at.called => Ask::Close,
        PaymentStatus::Closed => Ask::Nothing,
        PaymentStatus::Pending => match (at.called, at.closing || at.expired) {
            (true, true) => Ask::Close,
            (true, false) if at.has_url => Ask::Query,
            (true, false) => Ask::Create,
            (false, true) => Ask::CloseHere,
            (false, false) => Ask::NotYet,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Machine as _;

    fn all() -> impl Iterator<Item = Known> {
        PaymentStatus::NAMES.iter().flat_map(|(status, _)| {
            (0..16_u8).map(|bits| Known {
                status: *status,
                called: bits & 1 != 0,
                has_url: bits & 2 != 0,
                closing: bits & 4 != 0,
                expired: bits & 8 != 0,
            })
        })
    }

    #[test]
    fn a_channel_is_asked_only_about_what_it_may_know() {
        for at in all() {
            let asks = matches!(ask(at), Ask::Create | Ask::Query | Ask::Close);
            assert!(!asks || at.called, "{at:?}");
        }
    }

    #[test]
    fn nothing_is_shown_that_cannot_be_paid_any_more() {
        for at in all() {
            if at.closing || at.expired {
                assert!(
                    !matches!(ask(at), Ask::Create | Ask::Query | Ask::NotYet),
                    "{at:?}"
                );
            }
        }
    }

    #[test]
    fn an_open_payment_is_never_forgotten() {
        for at in all().filter(|at| at.status == PaymentStatus::Pending) {
            assert_ne!(ask(at), Ask::Nothing, "{at:?}");
        }
    }
}
