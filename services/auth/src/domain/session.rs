//! One login, from its tokens to its end.

use chrono::{DateTime, Utc};
use ids::{Id, UserId};

use super::profile::printable;
use crate::error::Error;

const MAX_DEVICE_CHARS: usize = 100;

/// The kind of a session's id.
#[derive(Debug)]
pub(crate) enum SessionKind {}

impl ids::Kind for SessionKind {
    const PREFIX: &'static str = "session";
}

/// Identifies a session.
pub(crate) type SessionId = Id<SessionKind>;

/// How a user proved to be the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Code,
    Password,
    Registration,
    Wechat,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Password => "password",
            Self::Registration => "registration",
            Self::Wechat => "wechat",
        }
    }
}

/// Why a session ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The user left.
    Logout,
    /// The user left everywhere.
    LogoutEverywhere,
    /// The user ended it from another session.
    Revoked,
    /// The user has as many sessions as are kept, and opened one more.
    Replaced,
    /// A refresh token was used a second time.
    Reuse,
    /// The key-value store no longer knows its refresh token.
    Lost,
    /// The password was changed.
    PasswordChanged,
    /// The user was banned.
    Banned,
}

impl EndReason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutEverywhere => "logout_everywhere",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Reuse => "reuse",
            Self::Lost => "lost",
            Self::PasswordChanged => "password_changed",
            Self::Banned => "banned",
        }
    }
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) device: String,
    pub(crate) ip: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) refreshed_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// What a client calls the device it runs on; at most 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device(String);

impl Device {
    pub(crate) fn new(text: String) -> Result<Self, Error> {
        if printable(&text, MAX_DEVICE_CHARS) {
            Ok(Self(text))
        } else {
            Err(Error::invalid(
                "device",
                "must be at most 100 characters, none of them a control character",
            ))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
