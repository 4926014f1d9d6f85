//! How a call of a provider ends.

use std::fmt;
use std::time::Duration;

/// Longest code or message of a provider that is passed on, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// Done, or a [`Failure`] that says whether the provider refused or nobody knows.
pub type Outcome<T> = Result<T, Failure>;

/// A call that is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The provider refused, in a verified answer with a published code: no effect.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It may have happened or not. Ask by query, or repeat under the same number.
    #[error("unknown: {0}")]
    Unknown(Doubt),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub reason: Reason,
    /// The provider's code, at most 200 characters.
    pub code: String,
    /// The provider's words, for operators; at most 200 characters.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.reason, self.code, self.message)
    }
}

/// Why a provider refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// The order is paid already.
    #[error("already paid")]
    AlreadyPaid,
    /// The order is closed; it cannot be paid any more.
    #[error("closed")]
    Closed,
    /// The provider knows no such payment, refund, transfer or bill. What that means for a payment:
    /// [`Provider::query`](crate::Provider::query).
    #[error("not found")]
    NotFound,
    /// The number was used before, with other parameters.
    #[error("the number was used with other parameters")]
    Mismatch,
    /// The merchant has too little money there. After a top-up the same number may be used again.
    #[error("not enough money in the merchant's account")]
    NotEnough,
    /// The amount is more than is left, or not one that the provider takes.
    #[error("the amount is not possible")]
    Amount,
    /// The payment or transfer is in a state in which this cannot be done. Ask by query.
    #[error("not possible in this state")]
    State,
    /// Too late: the provider's time for it is over.
    #[error("too late")]
    Expired,
    /// A limit of a day, a merchant or a recipient.
    #[error("over a limit")]
    Limit,
    /// The account of the payer or recipient cannot take part.
    #[error("the account of the other side cannot take part")]
    Account,
    /// The merchant may not do it: rights, contracts, risk control.
    #[error("the merchant may not do it")]
    Forbidden,
    /// The request is wrong: ours to mend.
    #[error("the request is wrong")]
    Invalid,
    /// A bill that is still being made: ask later.
    #[error("not ready yet")]
    NotReady,
}

/// Why an outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// No connection: the request never left.
    #[error("no connection: {0}")]
    NotSent(String),
    /// The provider did not take the request, because there are too many. Nothing happened; the same number may be used
    /// again, a little later.
    #[error("too many requests ({0})")]
    Throttled(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke, or the answer did not follow the rules of HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer has more bytes than are read.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// A status that says nothing about the operation, a redirect for example.
    #[error("HTTP {0}")]
    Status(u16),
    /// The answer is not proven to be the provider's. If it stays so, a person has to look: keys, clock, or an intruder.
    #[error("the answer cannot be verified: {0}")]
    Unverified(String),
    /// The answer is the provider's, and makes no sense: a field is absent, or names another order.
    #[error("the answer makes no sense: {0}")]
    Malformed(String),
    /// The provider says that it does not know, or answers with a code that is not published for the call.
    #[error("the provider answers {code}: {message}")]
    Provider {
        /// The provider's code.
        code: String,
        /// The provider's words.
        message: String,
    },
}

impl Doubt {
    /// Says that certainly nothing happened: the request was not taken.
    #[must_use]
    pub const fn nothing_happened(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Throttled(_) => true,
            Self::Timeout(_)
            | Self::Broken(_)
            | Self::TooLarge(_)
            | Self::Status(_)
            | Self::Unverified(_)
            | Self::Malformed(_)
            | Self::Provider { .. } => false,
        }
    }
}

impl From<Doubt> for Failure {
    fn from(doubt: Doubt) -> Self {
        Self::Unknown(doubt)
    }
}

impl Failure {
    /// Returns the reason of a refusal.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason),
            Self::Unknown(_) => None,
        }
    }

    /// Says whether nobody knows.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    pub(crate) fn refused(reason: Reason, code: &str, message: &str) -> Self {
        Self::Refused(Refusal {
            reason,
            code: clip(code),
            message: clip(message),
        })
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Unknown(Doubt::Malformed(what.into()))
    }
}

/// What a code of a provider means, for one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Refused(Reason),
    Throttled,
    Unknown,
}

impl Verdict {
    pub(crate) fn failure(self, code: &str, message: &str) -> Failure {
        match self {
            Self::Refused(reason) => Failure::refused(reason, code, message),
            Self::Throttled => Doubt::Throttled(clip(code)).into(),
            Self::Unknown => Doubt::Provider {
                code: clip(code),
                message: clip(message),
            }
            .into(),
        }
    }
}

/// Cuts a provider's text, and takes control characters out: it goes to logs.
pub(crate) fn clip(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT_CHARS)
        .collect()
}
