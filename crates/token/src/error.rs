//! Why a token is not believed, and why a call is refused.

use rpc::error::Reason;
use tonic::Status;

/// Domain of refusals in `google.rpc.ErrorInfo`, whatever service refuses.
pub const DOMAIN: &str = "access.evenkeel";

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not three parts of base64url with the header and claims of a token of ours, or it is longer than 4 KiB.
    #[error("it is malformed")]
    Malformed,
    /// It is not signed with EdDSA.
    #[error("its algorithm is not EdDSA")]
    Algorithm,
    /// Its `typ` is neither `at+jwt` nor `svc+jwt`.
    #[error("its type is not one of ours")]
    Type,
    /// No key has its `kid`.
    #[error("it is signed with an unknown key")]
    UnknownKey,
    /// The signature is not of this key over this text.
    #[error("its signature is wrong")]
    Signature,
    /// Its `iss` is not who may issue it.
    #[error("its issuer is wrong")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its `sub` is not a user's id or a service's name.
    #[error("its subject is wrong")]
    Subject,
    /// Its `nbf` or `iat` is in the future, or it lives for longer than its type may.
    #[error("its times are wrong")]
    NotYetValid,
    /// Its `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// It is of another service than the certificate of the connection.
    #[error("it is of another service than the certificate of the connection")]
    Certificate,
    /// The keys that would tell cannot be had at present.
    #[error("the keys that it must be checked with cannot be had now")]
    KeysUnavailable,
}

impl Error {
    const fn reason(self) -> Reason {
        match self {
            Self::Malformed
            | Self::Algorithm
            | Self::Type
            | Self::UnknownKey
            | Self::Signature
            | Self::Issuer
            | Self::Audience
            | Self::Subject
            | Self::NotYetValid
            | Self::Certificate => Reason::TokenInvalid,
            Self::Expired => Reason::TokenExpired,
            Self::KeysUnavailable => Reason::Unavailable,
        }
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The method needs a token and there is none.
    #[error("the method needs a token: authorization: Bearer …")]
    Anonymous,
    /// The header `authorization` is not one bearer token.
    #[error("authorization is not one bearer token")]
    Header,
    /// The token is not believed.
    #[error("the token is not accepted: {0}")]
    Token(#[from] Error),
    /// The user's role or state has changed since the token was made.
    #[error("the token was made before the user's rights changed; refresh it")]
    Revoked,
    /// The caller is known and may not.
    #[error("{0}")]
    Denied(&'static str),
    /// The store of epochs does not answer, so that an administrator cannot be told from a former one.
    #[error("whether the administrator's token is current cannot be told now")]
    EpochUnknown,
    /// No method has this path.
    #[error("there is no such method")]
    NoMethod,
}

impl Refusal {
    /// Returns the reason on the wire; `None` for a method that does not exist, which gRPC itself has a code for.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Anonymous => Some(Reason::Unauthenticated),
            Self::Header => Some(Reason::TokenInvalid),
            Self::Token(error) => Some(error.reason()),
            Self::Revoked => Some(Reason::TokenRevoked),
            Self::Denied(_) => Some(Reason::PermissionDenied),
            Self::EpochUnknown => Some(Reason::Unavailable),
            Self::NoMethod => None,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal.reason() {
            Some(reason) => reason.status(DOMAIN, text),
            None => Self::unimplemented(text),
        }
    }
}
