//! Why a live connection ends.

/// Why a live connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has gone.
    Gone,
    /// Its token has ended.
    TokenExpired,
    /// It does not keep up.
    TooSlow,
    /// It sends what it should not.
    Misbehaved,
    /// This process is ending.
    Drain,
    /// The task service cannot be reached.
    Unavailable,
}

impl End {
    /// Returns the close code: RFC 6455, 7.4.1, and the registry's "try again later"; 4000 and above are ours.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Gone => 1000,
            Self::TokenExpired => 4001,
            Self::TooSlow => 4008,
            Self::Misbehaved => 1008,
            Self::Drain => 1001,
            Self::Unavailable => 1013,
        }
    }

    /// Returns the reason that the client is told.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Gone => "",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TooSlow => "WATCH_TOO_SLOW",
            Self::Misbehaved => "INVALID_ARGUMENT",
            Self::Drain | Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// Returns the label under which it is counted.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::TokenExpired => "token_expired",
            Self::TooSlow => "too_slow",
            Self::Misbehaved => "misbehaved",
            Self::Drain => "drain",
            Self::Unavailable => "unavailable",
        }
    }
}
