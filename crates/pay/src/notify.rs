//! What providers tell us on their own.

use crate::{Number, Payment, Refund, Transfer};

/// A verified notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The provider's id of the event: the same in every delivery of it.
    pub id: String,
    /// What happened.
    pub event: Event,
}

/// What a notification tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What became of a payment.
    Payment(Payment),
    /// What became of a refund.
    Refund(Refund),
    /// Something became of a refund; ask by query what. Alipay says only the sum of all refunds.
    RefundChanged {
        /// Our number of the refund.
        refund: Number,
        /// Our number of the payment.
        payment: Number,
    },
    /// What became of a transfer.
    Transfer(Transfer),
}

/// Why a notification is refused. The text is for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// A header or parameter is absent, or there twice.
    #[error("{0} is absent, or is there more than once")]
    Missing(&'static str),
    /// It has more bytes than are read.
    #[error("the notification has more than {0} bytes")]
    TooLarge(usize),
    /// It is too old, or from the future. Replayed, or a clock is wrong.
    #[error("signed {seconds} s away from our time")]
    Stale {
        /// How far, in seconds.
        seconds: u64,
    },
    /// A probe of WeChat: it sends wrong signatures, to see that they are refused.
    #[error("a probe with a wrong signature")]
    Probe,
    /// Signed with a key that we do not have.
    #[error("signed with the unknown key {0}")]
    UnknownKey(String),
    /// The key may be good, but could not be fetched: it is to be sent again.
    #[error("the key {0} could not be fetched")]
    KeyUnavailable(String),
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// The content cannot be decrypted: another APIv3 key.
    #[error("the content cannot be decrypted")]
    Decrypt,
    /// It is the provider's, and makes no sense.
    #[error("malformed: {0}")]
    Malformed(String),
    /// It is about another app.
    #[error("about another app")]
    WrongApp,
    /// It is about another merchant.
    #[error("about another merchant")]
    WrongMerchant,
    /// A kind of event that we did not ask for.
    #[error("an event of the unknown kind {0}")]
    UnknownEvent(String),
}

impl NotifyError {
    /// Returns the name under which operators count refusals.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing(_) => "MISSING",
            Self::TooLarge(_) => "TOO_LARGE",
            Self::Stale { .. } => "STALE",
            Self::Probe => "PROBE",
            Self::UnknownKey(_) => "UNKNOWN_KEY",
            Self::KeyUnavailable(_) => "KEY_UNAVAILABLE",
            Self::Signature => "SIGNATURE",
            Self::Decrypt => "DECRYPT",
            Self::Malformed(_) => "MALFORMED",
            Self::WrongApp => "WRONG_APP",
            Self::WrongMerchant => "WRONG_MERCHANT",
            Self::UnknownEvent(_) => "UNKNOWN_EVENT",
        }
    }
}

/// How a notification is answered over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body; empty if there is none.
    pub content_type: &'static str,
    /// The body.
    pub body: &'static str,
}
