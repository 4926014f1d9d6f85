//! What can go wrong, and what callers read of it.

use std::collections::HashMap;

use barrier::{Refusal, Stop};
use rpc::error::Reason;
use tonic::Status;

use crate::DOMAIN;

/// Why an operation on quota has no result.
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
    #[error("page_token was not given out for this user")]
    PageToken,
    /// The account has less than wanted, or there is no account.
    #[error("{wanted} wanted, {available} available")]
    Insufficient { wanted: i64, available: i64 },
    /// The user has no account.
    #[error("the user has no quota account")]
    NoAccount,
    /// No reservation for this task.
    #[error("there is no reservation for this task")]
    NotFound,
    /// The reservation is consumed.
    #[error("the reservation is confirmed")]
    Confirmed,
    /// The reservation was given back, or a cancel came before any reserve.
    #[error("the reservation is cancelled")]
    Cancelled,
    /// The reservation ran out.
    #[error("the reservation has expired")]
    Expired,
    /// The task id stands for another reservation.
    #[error("the task has a reservation with another {field}")]
    ReservationMismatch { field: &'static str },
    /// The grant id stands for another grant.
    #[error("there is a grant of this id with another {field}")]
    GrantMismatch { field: &'static str },
    /// The source has granted under another grant id.
    #[error("the source has granted already, under another grant id")]
    SourceGranted,
    /// Everything that the source grants was taken back.
    #[error("what the source grants was taken back")]
    SourceClawedBack,
    /// The clawback id stands for another clawback.
    #[error("there is a clawback of this id with another {field}")]
    ClawbackMismatch { field: &'static str },
    /// The clawback id stands for a clawback that was undone.
    #[error("the clawback of this id was undone")]
    ClawbackUndone,
    /// The rows contradict each other.
    #[error("broken invariant: {0}")]
    Broken(&'static str),
    /// The database did not do as asked.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What an error is for the caller.
enum Answer {
    /// A definite no, with the field or facts that explain it.
    No(Reason, HashMap<String, String>),
    /// The outcome is unknown.
    Unknown,
}

impl From<events::outbox::Error> for Error {
    fn from(error: events::outbox::Error) -> Self {
        match error {
            // Our events are made of ids and numbers.
            events::outbox::Error::Invalid { .. } => Self::Broken("an event of ours cannot be published"),
            events::outbox::Error::Database(error) => Self::Database(error),
        }
    }
}

impl Error {
    fn answer(&self) -> Answer {
        let no = |reason| Answer::No(reason, HashMap::new());
        let field =
            |reason, name: &str| Answer::No(reason, HashMap::from([("field".to_owned(), name.to_owned())]));
        match self {
            Self::Invalid { field: name, .. } => field(Reason::InvalidArgument, name),
            Self::Id { field: name, .. } => field(Reason::InvalidId, name),
            Self::PageToken => no(Reason::InvalidPageToken),
            Self::Insufficient { wanted, available } => Answer::No(
                Reason::QuotaInsufficient,
                HashMap::from([
                    ("wanted".to_owned(), wanted.to_string()),
                    ("available".to_owned(), available.to_string()),
                ]),
            ),
            Self::NoAccount => no(Reason::QuotaAccountNotFound),
            Self::NotFound => no(Reason::ReservationNotFound),
            Self::Confirmed => no(Reason::ReservationConfirmed),
            Self::Cancelled => no(Reason::ReservationCancelled),
            Self::Expired => no(Reason::ReservationExpired),
            Self::ReservationMismatch { field: name } => field(Reason::ReservationMismatch, name),
            Self::GrantMismatch { field: name } => field(Reason::GrantMismatch, name),
            Self::SourceGranted => no(Reason::SourceGranted),
            Self::SourceClawedBack => no(Reason::SourceClawedBack),
            Self::ClawbackMismatch { field: name } => field(Reason::ClawbackMismatch, name),
            Self::ClawbackUndone => no(Reason::ClawbackUndone),
            Self::Broken(_) | Self::Database(_) => Answer::Unknown,
        }
    }
}

impl From<Error> for Status {
    /// Logs what is unknown; a definite no is the caller's to report.
    fn from(error: Error) -> Self {
        match error.answer() {
            Answer::No(reason, facts) => reason.status_with(DOMAIN, error.to_string(), facts),
            Answer::Unknown => {
                let reason = barrier::reason(&error);
                tracing::warn!(
                    reason = reason.name(),
                    error = barrier::chain(&error),
                    "request failed"
                );
                reason.status(DOMAIN, "the request failed; it may be repeated")
            }
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.answer() {
            Answer::No(reason, facts) => Self::Refuse(Refusal {
                reason: reason.into(),
                message: error.to_string(),
                facts,
            }),
            Answer::Unknown => Self::fail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_do_not_leave_the_service() {
        let status = Status::from(Error::Broken("the parts do not add up"));
        assert_eq!(rpc::error::info(&status).unwrap().reason, "INTERNAL");
        assert!(!status.message().contains("parts"), "{status}");
        assert!(matches!(Stop::from(Error::Broken("x")), Stop::Fail(_)));
    }

    #[test]
    fn the_database_being_away_is_unavailable() {
        let status = Status::from(Error::Database(sqlx::Error::PoolTimedOut));
        assert_eq!(rpc::error::info(&status).unwrap().reason, "UNAVAILABLE");
    }

    #[test]
    fn a_mismatch_names_the_field() {
        let status = Status::from(Error::ReservationMismatch { field: "amount" });
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("RESERVATION_MISMATCH", "amount")
        );
        assert!(status.message().contains("amount"), "{status}");
    }
}
