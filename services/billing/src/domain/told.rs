//! What a notification tells, as it is kept in `notify_inbox` until it is applied. Who paid is not kept: nothing needs it.

use chrono::{DateTime, Utc};
use pay::{Event, Money, Number, PaymentState, RefundState, TransferState};
use serde::{Deserialize, Serialize};

/// What a notification tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Told {
    Payment {
        provider_no: Option<String>,
        state: Payment,
        amount: Option<Money>,
        paid_at: Option<DateTime<Utc>>,
    },
    Refund {
        payment_no: String,
        provider_no: Option<String>,
        state: Refund,
        amount: Option<Money>,
        refunded_at: Option<DateTime<Utc>>,
    },
    /// Something became of a refund; ask what.
    RefundChanged { payment_no: String },
    Transfer {
        provider_no: Option<String>,
        state: Transfer,
        amount: Option<Money>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Payment {
    Pending,
    Paid,
    Refunded,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Refund {
    Processing,
    Succeeded,
    Closed,
    Abnormal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Transfer {
    Processing,
    Succeeded,
    Failed(String),
}

impl Told {
    /// Takes over what a provider told, and our number of what it is about.
    pub(crate) fn of(event: Event) -> (Number, Self) {
        match event {
            Event::Payment(payment) => (
                payment.number,
                Self::Payment {
                    provider_no: payment.provider_no,
                    state: match payment.state {
                        PaymentState::Pending => Payment::Pending,
                        PaymentState::Paid => Payment::Paid,
                        PaymentState::Refunded => Payment::Refunded,
                        PaymentState::Closed => Payment::Closed,
                    },
                    amount: payment.amount,
                    paid_at: payment.paid_at,
                },
            ),
            Event::Refund(refund) => (
                refund.number,
                Self::Refund {
                    payment_no: refund.payment.as_str().to_owned(),
                    provider_no: refund.provider_no,
                    state: match refund.state {
                        RefundState::Processing => Refund::Processing,
                        RefundState::Succeeded => Refund::Succeeded,
                        RefundState::Closed => Refund::Closed,
                        RefundState::Abnormal => Refund::Abnormal,
                    },
                    amount: refund.amount,
                    refunded_at: refund.refunded_at,
                },
            ),
            Event::RefundChanged { refund, payment } => (
                refund,
                Self::RefundChanged {
                    payment_no: payment.as_str().to_owned(),
                },
            ),
            Event::Transfer(transfer) => (
                transfer.number,
                Self::Transfer {
                    provider_no: transfer.provider_no,
                    state: match transfer.state {
                        TransferState::Processing | TransferState::AwaitingRecipient { .. } => {
                            Transfer::Processing
                        }
                        TransferState::Succeeded => Transfer::Succeeded,
                        TransferState::Failed { reason } => Transfer::Failed(reason),
                    },
                    amount: transfer.amount,
                },
            ),
        }
    }

    /// Gives what was kept back as the provider told it. `None` if a number in it is none.
    pub(crate) fn event(self, number: Number) -> Option<Event> {
        Some(match self {
            Self::Payment {
                provider_no,
                state,
                amount,
                paid_at,
            } => Event::Payment(pay::Payment {
                number,
                provider_no,
                state: match state {
                    Payment::Pending => PaymentState::Pending,
                    Payment::Paid => PaymentState::Paid,
                    Payment::Refunded => PaymentState::Refunded,
                    Payment::Closed => PaymentState::Closed,
                },
                amount,
                paid_at,
                payer: None,
            }),
            Self::Refund {
                payment_no,
                provider_no,
                state,
                amount,
                refunded_at,
            } => Event::Refund(pay::Refund {
                number,
                payment: Number::new(payment_no).ok()?,
                provider_no,
                amount,
                state: match state {
                    Refund::Processing => RefundState::Processing,
                    Refund::Succeeded => RefundState::Succeeded,
                    Refund::Closed => RefundState::Closed,
                    Refund::Abnormal => RefundState::Abnormal,
                },
                refunded_at,
            }),
            Self::RefundChanged { payment_no } => Event::RefundChanged {
                refund: number,
                payment: Number::new(payment_no).ok()?,
            },
            Self::Transfer {
                provider_no,
                state,
                amount,
            } => Event::Transfer(pay::Transfer {
                number,
                provider_no,
                amount,
                state: match state {
                    Transfer::Processing => TransferState::Processing,
                    Transfer::Succeeded => TransferState::Succeeded,
                    Transfer::Failed(reason) => TransferState::Failed { reason },
                },
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::new(text).unwrap()
    }

    #[test]
    fn what_was_kept_is_what_was_told() {
        let amount = Some(Money::cny(4_900));
        let at = DateTime::from_timestamp(1_800_000_000, 0);
        let mut events = vec![Event::RefundChanged {
            refund: number("REF000001"),
            payment: number("PAY000001"),
        }];
        for state in [
            PaymentState::Pending,
            PaymentState::Paid,
            PaymentState::Refunded,
            PaymentState::Closed,
        ] {
            events.push(Event::Payment(pay::Payment {
                number: number("PAY000001"),
                provider_no: Some("42".to_owned()),
                state,
                amount,
                paid_at: at,
                payer: None,
            }));
        }
        for state in [
            RefundState::Processing,
            RefundState::Succeeded,
            RefundState::Closed,
            RefundState::Abnormal,
        ] {
            events.push(Event::Refund(pay::Refund {
                number: number("REF000001"),
                payment: number("PAY000001"),
                provider_no: None,
                amount,
                state,
                refunded_at: at,
            }));
        }
        for state in [
            TransferState::Processing,
            TransferState::Succeeded,
            TransferState::Failed {
                reason: "ACCOUNT_ERROR".to_owned(),
            },
        ] {
            events.push(Event::Transfer(pay::Transfer {
                number: number("WDR000001"),
                provider_no: None,
                amount,
                state,
            }));
        }
        for event in events {
            let (number, told) = Told::of(event.clone());
            let kept = serde_json::to_value(told).unwrap();
            let read: Told = serde_json::from_value(kept).unwrap();
            assert_eq!(read.event(number), Some(event));
        }
    }
}
