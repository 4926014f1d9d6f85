//! What can go wrong, and what callers read of it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use rpc::error::Reason;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::DOMAIN;
use crate::password::{self, Unfit};
use crate::{limits, sms, wechat};

/// Why an operation on accounts has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field is absent, malformed or out of range.
    #[error("{field} {problem}")]
    Invalid {
        field: &'static str,
        problem: &'static str,
    },
    /// A field is not an id of the wanted kind.
    #[error("{field}: {source}")]
    Id {
        field: &'static str,
        source: ids::ParseIdError,
    },
    /// A page token was not made for this request.
    #[error("page_token was not given out for this filter")]
    PageToken,
    /// Unknown phone number, wrong password, or wrong code: nobody learns which.
    #[error("phone number, password or code is wrong")]
    LoginFailed,
    /// The refresh token is none of ours, or its session is over.
    #[error("the refresh token is not good any more; log in again")]
    RefreshInvalid,
    /// The refresh token was used before; its session has been ended.
    #[error("the refresh token was used before; its session has been ended")]
    RefreshReused,
    /// There is neither a refresh token nor an access token.
    #[error("neither a refresh token nor an access token says whose session ends")]
    Nobody,
    /// The caller is known and may not.
    #[error("{0}")]
    Denied(&'static str),
    /// There is no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// The user is banned, by us or by WeChat.
    #[error("the user is banned")]
    UserBanned,
    /// There is a user with this phone number.
    #[error("there is a user with this phone number")]
    PhoneTaken,
    /// The referrer does not exist or is banned.
    #[error("the referrer does not exist or is not active")]
    ReferrerInvalid,
    /// Nobody has this invite code.
    #[error("nobody has this invite code")]
    InviteCodeInvalid,
    /// The password is too short, or one of the most common.
    #[error(transparent)]
    PasswordTooWeak(Unfit),
    /// The password is longer than what bcrypt reads.
    #[error(transparent)]
    PasswordTooLong(Unfit),
    /// The old password is wrong.
    #[error("the old password is wrong")]
    PasswordWrong,
    /// The code is wrong, used, expired, or for another purpose.
    #[error("the code is wrong, used or expired")]
    SmsCodeInvalid,
    /// The SMS provider did not take the message.
    #[error("the message could not be sent")]
    SmsNotSent(#[source] sms::Error),
    /// WeChat does not know the code, or it was used.
    #[error("WeChat does not know this code")]
    WechatCodeInvalid,
    /// WeChat did not answer, is busy, or limits us.
    #[error("WeChat cannot be asked now")]
    WechatUnavailable(#[source] wechat::Error),
    /// The user has no such session.
    #[error("the user has no such session")]
    SessionNotFound,
    /// A limit is reached.
    #[error("too often; try again in {} s", .retry_after.as_secs_f64().ceil())]
    RateLimited { retry_after: Duration },
    /// More passwords wait to be hashed than will be hashed in time.
    #[error("too many logins at once; try again")]
    Overloaded,
    /// A password could not be hashed or compared.
    #[error("a password cannot be hashed or compared")]
    Password(#[source] password::Error),
    /// A signing key could not be made, read or written.
    #[error("the signing keys cannot be used")]
    Keys(#[from] crate::keys::Error),
    /// The rows contradict each other.
    #[error("broken invariant: {0}")]
    Broken(&'static str),
    /// What was stored encrypted cannot be read, or not be written.
    #[error("encryption at rest failed")]
    Sealed(#[from] crate::sealed::Error),
    /// The key-value store did not do as asked.
    #[error("the key-value store failed")]
    Kv(#[from] kv::Error),
    /// The database did not do as asked.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What an error is for the caller.
enum Answer {
    /// A definite no, with the field that explains it.
    No(Reason, Option<&'static str>),
    /// Not now; with the time after which it may go.
    Later(Reason, Option<Duration>),
    /// The outcome is unknown.
    Unknown,
}

impl Error {
    pub(crate) const fn invalid(field: &'static str, problem: &'static str) -> Self {
        Self::Invalid { field, problem }
    }

    fn answer(&self) -> Answer {
        let no = |reason| Answer::No(reason, None);
        match self {
            Self::Invalid { field, .. } => Answer::No(Reason::InvalidArgument, Some(field)),
            Self::Id { field, .. } => Answer::No(Reason::InvalidId, Some(field)),
            Self::PageToken => no(Reason::InvalidPageToken),
            Self::LoginFailed => no(Reason::LoginFailed),
            Self::RefreshInvalid => no(Reason::RefreshTokenInvalid),
            Self::RefreshReused => no(Reason::RefreshTokenReused),
            Self::Nobody => no(Reason::Unauthenticated),
            Self::Denied(_) => no(Reason::PermissionDenied),
            Self::UserNotFound => no(Reason::UserNotFound),
            Self::UserBanned => no(Reason::UserBanned),
            Self::PhoneTaken => no(Reason::PhoneTaken),
            Self::ReferrerInvalid => no(Reason::ReferrerInvalid),
            Self::InviteCodeInvalid => no(Reason::InviteCodeInvalid),
            Self::PasswordTooWeak(_) => no(Reason::PasswordTooWeak),
            Self::PasswordTooLong(_) => no(Reason::PasswordTooLong),
            Self::PasswordWrong => no(Reason::PasswordWrong),
            Self::SmsCodeInvalid => no(Reason::SmsCodeInvalid),
            Self::SmsNotSent(_) => Answer::Later(Reason::SmsNotSent, None),
            Self::WechatCodeInvalid => no(Reason::WechatCodeInvalid),
            Self::WechatUnavailable(_) => Answer::Later(Reason::WechatUnavailable, None),
            Self::SessionNotFound => no(Reason::SessionNotFound),
            Self::RateLimited { retry_after } => Answer::Later(Reason::RateLimited, Some(*retry_after)),
            Self::Overloaded => Answer::Later(Reason::Overloaded, None),
            Self::Password(_)
            | Self::Keys(_)
            | Self::Broken(_)
            | Self::Sealed(_)
            | Self::Kv(_)
            | Self::Database(_) => Answer::Unknown,
        }
    }
}

impl From<events::outbox::Error> for Error {
    fn from(error: events::outbox::Error) -> Self {
        match error {
            // Our events are made of ids and words.
            events::outbox::Error::Invalid { .. } => Self::Broken("an event of ours cannot be published"),
            events::outbox::Error::Database(error) => Self::Database(error),
        }
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Long => Self::PasswordTooLong(unfit),
            Unfit::Short | Unfit::Common | Unfit::Control => Self::PasswordTooWeak(unfit),
        }
    }
}

impl From<password::Error> for Error {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::Overloaded,
            password::Error::Config(_) | password::Error::Damaged(_) | password::Error::Thread(_) => {
                Self::Password(error)
            }
        }
    }
}

impl From<sms::Error> for Error {
    fn from(error: sms::Error) -> Self {
        match error {
            sms::Error::Limited { retry_after, .. } => Self::RateLimited { retry_after },
            sms::Error::Disabled
            | sms::Error::Config(_)
            | sms::Error::Unknown(_)
            | sms::Error::Number(_)
            | sms::Error::Refused(_) => Self::SmsNotSent(error),
        }
    }
}

impl From<wechat::Error> for Error {
    fn from(error: wechat::Error) -> Self {
        match error {
            wechat::Error::Code(_) => Self::WechatCodeInvalid,
            wechat::Error::Blocked(_) => Self::UserBanned,
            wechat::Error::Disabled
            | wechat::Error::Config(_)
            | wechat::Error::Busy(_)
            | wechat::Error::Refused(_)
            | wechat::Error::Unknown(_) => Self::WechatUnavailable(error),
        }
    }
}

impl From<limits::Error> for Error {
    fn from(error: limits::Error) -> Self {
        match error {
            limits::Error::Limited { retry_after } => Self::RateLimited { retry_after },
            limits::Error::Store(error) => Self::Kv(error),
            limits::Error::Random => Self::Broken("the system gives no randomness"),
        }
    }
}

impl From<Error> for Status {
    /// Logs what is unknown and what providers did; a definite no is the caller's to report.
    fn from(error: Error) -> Self {
        match error.answer() {
            Answer::No(reason, field) => {
                let facts = field.map(|field| ("field".to_owned(), field.to_owned()));
                reason.status_with(DOMAIN, error.to_string(), facts.into_iter().collect())
            }
            Answer::Later(reason, retry_after) => {
                if error.source().is_some() {
                    tracing::warn!(
                        reason = reason.name(),
                        error = chain(&error),
                        "a provider did not serve"
                    );
                }
                let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
                if let Some(wait) = retry_after {
                    details.set_retry_info(Some(wait));
                }
                Self::with_error_details(reason.code(), error.to_string(), details)
            }
            Answer::Unknown => {
                let reason = if may_pass(&error) {
                    Reason::Unavailable
                } else {
                    Reason::Internal
                };
                tracing::warn!(reason = reason.name(), error = chain(&error), "request failed");
                reason.status(DOMAIN, "the request failed; it may be repeated")
            }
        }
    }
}

/// Tells whether a failure is one of being away or busy, not one of ours.
fn may_pass(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<kv::Error>() {
            return error.is_unavailable();
        }
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return database_may_pass(error);
        }
        cause = error.source();
    }
    false
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is non-exhaustive; what is not listed is a defect"
)]
fn database_may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connections, resources, operators, deadlocks and serialization (appendix A of the Postgres manual).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57", "40"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Returns the whole chain of causes on one line, for the log.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(error: Error) -> (String, Status) {
        let status = Status::from(error);
        (rpc::error::info(&status).unwrap().reason, status)
    }

    #[test]
    fn internals_do_not_leave_the_service() {
        let (reason, status) = reason(Error::Broken("the rows do not fit"));
        assert_eq!(reason, "INTERNAL");
        assert!(!status.message().contains("rows"), "{status}");
    }

    #[test]
    fn a_database_or_a_store_that_is_away_is_unavailable() {
        assert_eq!(
            reason(Error::Database(sqlx::Error::PoolTimedOut)).0,
            "UNAVAILABLE"
        );
        let slow = kv::Error::Unavailable(kv::Cause::Slow(Duration::from_secs(1)));
        assert_eq!(reason(Error::Kv(slow)).0, "UNAVAILABLE");
        assert_eq!(reason(Error::Kv(kv::Error::Bounds("too large"))).0, "INTERNAL");
    }

    #[test]
    fn a_limit_says_when_it_is_over() {
        let (reason, status) = reason(Error::RateLimited {
            retry_after: Duration::from_secs(7),
        });
        assert_eq!(reason, "RATE_LIMITED");
        let wait = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_field_is_named() {
        let status = Status::from(Error::invalid("device", "is too long"));
        assert_eq!(rpc::error::info(&status).unwrap().metadata["field"], "device");
    }
}
