//! Why descriptors cannot be served.

use crate::template::TemplateError;

/// A mistake in the descriptors or in the list of services, found at the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The descriptors lack `google/api/annotations.proto`.
    #[error("the descriptors do not have the extension google.api.http")]
    NoAnnotations,
    /// A service that is to be served is not in the descriptors.
    #[error("the descriptors have no service {0}")]
    UnknownService(String),
    /// An annotation makes no sense.
    #[error("{method}: {template:?} cannot be served: {mistake}")]
    Binding {
        /// Full name of the method.
        method: String,
        /// Path template as written; empty if there is none.
        template: String,
        /// What is wrong.
        mistake: Mistake,
    },
    /// Two bindings answer to the same requests.
    #[error("{first} and {second} both want {verb} {template:?}")]
    Duplicate {
        /// Full name of the method that had it first.
        first: String,
        /// Full name of the method that wants it too; may be the same.
        second: String,
        /// HTTP method.
        verb: http::Method,
        /// Path template of the second.
        template: String,
    },
}

/// What is wrong with an annotation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// None of get, put, post, delete, patch is given.
    #[error("it has no method")]
    NoPattern,
    /// `additional_bindings` inside of `additional_bindings`.
    #[error("further bindings do not nest")]
    NestedBindings,
    /// The path template is not in the grammar.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// HTTP has no way to send a stream of requests as JSON.
    #[error("the method streams requests")]
    ClientStreaming,
    /// GET and DELETE have no body (RFC 9110, 9.3).
    #[error("GET and DELETE have no body")]
    BodyNotAllowed,
    /// A name in the annotation is not a field of the message.
    #[error("{message} has no field {field}")]
    UnknownField {
        /// Full name of the message.
        message: String,
        /// The name.
        field: String,
    },
    /// The path fills a field that is repeated, a map or a message, or lies below one that is not a message.
    #[error("a path cannot fill {0}")]
    NotPlain(String),
    /// The path fills two members of a oneof.
    #[error("the path fills {0} beside another member of its oneof")]
    Oneof(String),
}
