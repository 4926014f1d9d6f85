//! What can be wrong with a contract, and with a request.

use rpc::error::Reason;

/// The descriptors cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A service that is to be served is not in the descriptors.
    #[error("there is no service {0}")]
    NoService(String),
    /// A method's HTTP rule is wrong.
    #[error("{method}: {problem}")]
    Rule {
        /// Full name of the method.
        method: String,
        /// What is wrong.
        problem: String,
    },
    /// Two methods want the same requests.
    #[error("{first} and {second} have the same HTTP method and path")]
    Conflict {
        /// Full name of a method.
        first: String,
        /// Full name of another, or the same.
        second: String,
    },
}

/// No method is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// No route has this path.
    NotFound,
    /// The path has other HTTP methods: these.
    MethodNotAllowed(Vec<http::Method>),
    /// The path cannot be decoded.
    BadPath(&'static str),
}

/// A request that does not fit its method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// `MALFORMED_BODY` for what is no JSON, `INVALID_ARGUMENT` for what does not fit.
    pub reason: Reason,
    /// What is wrong, for people. Has the field's name where there is one.
    pub message: String,
    /// The field, as written in JSON, for example `inputData.text`.
    pub field: Option<String>,
}

impl BadRequest {
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::MalformedBody,
            message: message.into(),
            field: None,
        }
    }

    pub(crate) fn field(field: &str, problem: &str) -> Self {
        let message = if field.is_empty() {
            format!("the body {problem}")
        } else {
            format!("{field} {problem}")
        };
        Self {
            reason: Reason::InvalidArgument,
            message,
            field: (!field.is_empty()).then(|| field.to_owned()),
        }
    }
}
