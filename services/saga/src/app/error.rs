//! What can go wrong in a request, and how callers see it.

use ids::{ParseIdError, SagaId};
use rpc::error::Reason;
use saga_core::{Phase, Plan};
use saga_engine::RequestError;
use tonic::Status;

use crate::app::changed::Changed;
use crate::{DOMAIN, definitions, journal, tokens};

/// A request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field is absent, malformed or out of range.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// An id is not one.
    #[error("{field}: {source}")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: ParseIdError,
    },
    /// A page token was not made by this method for these filters.
    #[error("page_token was not made by this method for these filters")]
    PageToken,
    /// A payload is above its limit.
    #[error("{field} has {found_bytes} bytes; at most {max_bytes} are accepted")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its size.
        found_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The input does not fit the definition.
    #[error("the input is not usable: {0}")]
    Input(String),
    /// The definition has no such step.
    #[error("{saga_type} has no step {step:?}; it has {known}")]
    StepUnknown {
        /// The definition.
        saga_type: String,
        /// What was asked for.
        step: String,
        /// The steps there are.
        known: String,
    },
    /// There is no such saga.
    #[error("there is no saga {0}")]
    NotFound(String),
    /// The business key is taken by a saga with another input.
    #[error("the business key is taken by {0}, which was started with another input")]
    InputMismatch(SagaId),
    /// The saga only goes forward now.
    #[error("{0} is past the point where it could be undone")]
    PastCommitPoint(SagaId),
    /// The saga has ended.
    #[error("{saga} has ended already: {}", phase.name())]
    Ended {
        /// Which.
        saga: SagaId,
        /// How.
        phase: Phase,
    },
    /// The saga is not as it was when the operator decided.
    #[error("{0}")]
    Changed(Box<Changed>),
    /// The saga does not allow an operator's action as it stands.
    #[error("{saga} does not allow {action}: {why}")]
    NotAllowed {
        /// Which.
        saga: SagaId,
        /// The action, with its operation.
        action: String,
        /// Why not, or what is allowed instead.
        why: String,
    },
    /// A completion token is not one of ours.
    #[error("{0}")]
    Token(#[from] tokens::Invalid),
    /// The operation was not called yet.
    #[error("{step} of {saga} was not called yet; nothing can complete it")]
    NotWaiting {
        /// The saga.
        saga: SagaId,
        /// The step.
        step: String,
    },
    /// The outcome of the operation is recorded already.
    #[error("the outcome of {step} of {saga} is recorded already")]
    Answered {
        /// The saga.
        saga: SagaId,
        /// The step.
        step: String,
    },
    /// The saga unwinds and does not wait for the operation any more.
    #[error("{saga} unwinds and waits for {step} no longer{}", if *noted { "; the success is recorded" } else { "" })]
    GivenUp {
        /// The saga.
        saga: SagaId,
        /// The step.
        step: String,
        /// Whether what came was recorded, for a person to look at.
        noted: bool,
    },
    /// Too many live sagas or requests; nothing was done.
    #[error("too many sagas or requests at once; nothing was done, try again later")]
    Overloaded,
    /// It is not known whether it was done.
    #[error("it is not known whether this was done; ask again with the same key")]
    AskAgain,
    /// The instance that drives the saga cannot be reached now.
    #[error("the instance that drives {0} cannot be reached now; ask again")]
    OwnerAway(SagaId),
    /// Nobody drives the saga until an operator releases it.
    #[error("{0} is parked until an operator releases it; ask again then")]
    Parked(SagaId),
    /// The instance that drives the saga refused.
    #[error("the instance that drives the saga answered: {}", .0.message())]
    Owner(Box<Status>),
    /// Something about definitions.
    #[error(transparent)]
    Definition(#[from] definitions::Error),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Journal(#[source] journal::ReadError),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    pub(crate) fn step_unknown(saga_type: &str, step: &str, plan: &Plan) -> Self {
        let names: Vec<&str> = plan.steps().iter().map(|step| &*step.name).collect();
        Self::StepUnknown {
            saga_type: saga_type.to_owned(),
            step: step.to_owned(),
            known: names.join(", "),
        }
    }

    /// Translates what the engine answered about `saga`.
    pub(crate) fn of_engine(error: RequestError, saga: SagaId) -> Self {
        match error {
            RequestError::InputMismatch(existing) => Self::InputMismatch(existing),
            RequestError::Overloaded => Self::Overloaded,
            RequestError::NotHere => Self::OwnerAway(saga),
            RequestError::PastCommitPoint => Self::PastCommitPoint(saga),
            RequestError::Unknown | RequestError::Stopped => Self::AskAgain,
            // Told with the history, the step and the phase by those who ask for it.
            RequestError::Changed { .. }
            | RequestError::NotAllowed
            | RequestError::NotOpen
            | RequestError::Answered
            | RequestError::GivenUp
            | RequestError::Ended => Self::AskAgain,
            RequestError::Unwritable(why) => Self::Input(why),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Invalid { .. } => Reason::InvalidArgument,
            Error::Id { .. } => Reason::InvalidId,
            Error::PageToken => Reason::InvalidPageToken,
            Error::TooLarge { .. } => Reason::PayloadTooLarge,
            Error::Input(_) => Reason::SagaInputInvalid,
            Error::StepUnknown { .. } => Reason::StepUnknown,
            Error::NotFound(_) => Reason::SagaNotFound,
            Error::InputMismatch(_) => Reason::SagaInputMismatch,
            Error::PastCommitPoint(_) => Reason::SagaPastCommitPoint,
            Error::Ended { .. } => Reason::SagaEnded,
            Error::Changed(changed) => {
                let facts = [
                    ("expected_version", changed.expected_version),
                    ("version", changed.version),
                ];
                let facts = facts.map(|(name, version)| (name.to_owned(), version.to_string()));
                return Reason::SagaChanged.status_with(DOMAIN, error.to_string(), facts.into());
            }
            Error::NotAllowed { .. } => Reason::ActionNotAllowed,
            Error::Token(_) => Reason::CompletionTokenInvalid,
            Error::NotWaiting { .. } => Reason::StepNotWaiting,
            Error::Answered { .. } => Reason::StepAnswered,
            Error::GivenUp { .. } => Reason::StepGivenUp,
            Error::Overloaded => Reason::Overloaded,
            Error::AskAgain | Error::OwnerAway(_) | Error::Parked(_) | Error::Journal(_) => {
                Reason::Unavailable
            }
            Error::Owner(status) => return (**status).clone(),
            Error::Definition(error) => match error {
                definitions::Error::NotFound(_) => Reason::DefinitionNotFound,
                definitions::Error::Conflict { .. } => Reason::DefinitionConflict,
                definitions::Error::Damaged { .. } => Reason::Internal,
                definitions::Error::Database(_) => Reason::Unavailable,
            },
        };
        if reason == Reason::Internal {
            // Details are for the log only.
            return reason.status(DOMAIN, "internal error");
        }
        reason.status(DOMAIN, error.to_string())
    }
}
