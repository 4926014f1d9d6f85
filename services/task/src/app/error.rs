//! What can go wrong in a public operation, and how it is answered.

use ids::TaskId;
use rpc::error::Reason;
use tonic::Status;

use crate::DOMAIN;
use crate::domain::TaskState;
use crate::feed::{Closing, Refusal};

/// Why a public operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field is absent, malformed or out of range.
    #[error("{field} {problem}")]
    Argument { field: &'static str, problem: String },
    /// An id is malformed.
    #[error("{field}: {source}")]
    Id {
        field: &'static str,
        source: ids::ParseIdError,
    },
    /// A page token was not made for this list.
    #[error("page_token was not made by this method for this user and filter")]
    PageToken,
    /// A payload is above its limit.
    #[error("{field} is {found} bytes encoded, {limit} are allowed")]
    TooLarge {
        field: &'static str,
        found: usize,
        limit: usize,
    },
    /// There is no such task.
    #[error("there is no task {0}")]
    NoTask(TaskId),
    /// There is no such feature.
    #[error("there is no feature {0:?}; ListFeatures shows what there is")]
    NoFeature(String),
    /// The request id stands for another task.
    #[error("request_id {0:?} was used for a task with another feature or input")]
    Mismatch(String),
    /// The task's work is done.
    #[error("task {id} is {} and cannot be cancelled any more", .state.name())]
    NotCancellable { id: TaskId, state: TaskState },
    /// Another service said no; the answer passes through.
    #[error("{message}")]
    Refused {
        reason: Reason,
        domain: String,
        message: String,
    },
    /// The saga unwound before the task existed, for no reason of the caller's.
    #[error("the task was not created ({cause}); try again with another request_id")]
    NotCreated { cause: String },
    /// The bound of the wait has passed.
    #[error("the task is not created yet; a retry with request_id {request_id:?} finds the same task")]
    NotYet { request_id: String },
    /// The orchestrator does not answer, or not as it should.
    #[error("the saga service does not answer; a retry with request_id {request_id:?} finds the same task")]
    Unreachable {
        request_id: String,
        #[source]
        source: Status,
    },
    /// The orchestrator does not answer, or not as it should, to a cancel.
    #[error("the saga service does not answer; the cancel can be repeated")]
    CancelUnknown(#[source] Status),
    /// The orchestrator cannot take more work.
    #[error("too many tasks are under way; try again later")]
    Overloaded,
    /// A stream is not admitted.
    #[error("{}", refusal(*.0))]
    NotAdmitted(Refusal),
    /// A stream has ended.
    #[error("{}", closing(*.0))]
    Closed(Closing),
    /// The database does not answer, or not as it should.
    #[error("the task store does not answer")]
    Database(#[from] sqlx::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::NotAdmitted(refusal)
    }
}

const fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooMany => "the user watches with as many streams as are allowed; close one first",
        Refusal::Overloaded => "too many users watch here; try again later",
        Refusal::ShuttingDown => "this process ends; watch again",
    }
}

const fn closing(closing: Closing) -> &'static str {
    match closing {
        Closing::TooSlow => "the reader did not keep up; watch again from the last event that was seen",
        Closing::ShuttingDown => "this process ends; watch again from the last event that was seen",
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Argument { .. } => Reason::InvalidArgument,
            Error::Id { .. } => Reason::InvalidId,
            Error::PageToken => Reason::InvalidPageToken,
            Error::TooLarge { .. } => Reason::PayloadTooLarge,
            Error::NoTask(_) => Reason::TaskNotFound,
            Error::NoFeature(_) => Reason::FeatureNotFound,
            Error::Mismatch(_) => Reason::TaskMismatch,
            Error::NotCancellable { .. } => Reason::TaskNotCancellable,
            Error::Refused {
                reason,
                domain,
                message,
            } => return reason.status(domain, message),
            Error::NotAdmitted(Refusal::TooMany) => Reason::TooManyWatches,
            Error::Closed(Closing::TooSlow) => Reason::WatchTooSlow,
            Error::Overloaded | Error::NotAdmitted(Refusal::Overloaded) => Reason::Overloaded,
            Error::NotCreated { .. }
            | Error::NotYet { .. }
            | Error::NotAdmitted(Refusal::ShuttingDown)
            | Error::Closed(Closing::ShuttingDown) => Reason::Unavailable,
            Error::Unreachable { .. } | Error::CancelUnknown(_) => {
                tracing::warn!(error = barrier::chain(&error), "the saga service failed a call");
                Reason::Unavailable
            }
            Error::Database(cause) => {
                tracing::warn!(error = barrier::chain(&error), "the database failed an operation");
                barrier::reason(cause)
            }
        };
        reason.status(DOMAIN, error.to_string())
    }
}
