//! What a consumer does with a message, and how it says that it could not.

use std::error::Error as StdError;

use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::Received;

/// What a handler returns.
pub type Outcome = Result<(), HandlerError>;

/// Applies a message inside the transaction that holds its row of the inbox.
pub(crate) type Handler =
    dyn for<'a> Fn(&'a mut PgConnection, &'a Received) -> BoxFuture<'a, Outcome> + Send + Sync;

/// Why a message was not applied. The transaction is rolled back in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// Something that a handler needs is down. Tried again until it is back; uses up no attempt.
    #[error("something the handler needs is down: {0}")]
    Unavailable(String),
    /// It may work later. Tried again after a pause; dead-lettered after the last attempt.
    #[error("{0}")]
    Retry(String),
    /// It will never work. Dead-lettered with this reason.
    #[error("{0}")]
    Dead(String),
}

impl From<sqlx::Error> for HandlerError {
    /// A database that is down is `Unavailable`; an answer of the database, such as a broken constraint, is `Retry`.
    fn from(error: sqlx::Error) -> Self {
        let text = chain(&error);
        if is_down(&error) {
            Self::Unavailable(text)
        } else {
            Self::Retry(text)
        }
    }
}

/// Says whether the error tells of a database that does not answer, instead of being its answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is non-exhaustive; whatever is new is an answer and uses up an attempt"
)]
pub(crate) fn is_down(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Class 08 connection, 53 resources, 57 the server stops or starts, 40 serialization and deadlock, 25006 a
        // standby; all of them say nothing about the message.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P", "40"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "25006"
        }),
        _ => false,
    }
}

/// Writes an error and its causes in one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors print their cause themselves.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
