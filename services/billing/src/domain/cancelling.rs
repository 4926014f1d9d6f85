//! Why an order's payments are being closed.

/// Who wants an order to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// The buyer. A payment that was faster is taken.
    User,
    /// Its time. A payment that was faster is taken.
    Expired,
    /// The saga, which undoes the purchase: no payment is taken any more.
    Saga,
}

impl Cancelling {
    /// Returns the name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Expired => "EXPIRED",
            Self::Saga => "SAGA",
        }
    }
}
