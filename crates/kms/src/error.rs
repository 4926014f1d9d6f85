//! Why a field was not sealed, opened or re-wrapped.

use std::time::Duration;

use tencent_cloud::Failure;

use crate::key_id::KeyId;

/// Why a field was not sealed, opened or re-wrapped. Says nothing of its content or of any key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key service is away or overloaded. It may be tried again; callers are told UNAVAILABLE.
    #[error("the key service is not available")]
    Unavailable(#[source] Unavailable),
    /// The key service refuses: rights, credentials, this machine's clock, or a key that was disabled. An operator has to
    /// act. Holds the service's code.
    #[error("the key service refuses ({0})")]
    Refused(String),
    /// The field was sealed under a key that is not configured any more.
    #[error("the sealed field needs key {0}, which is not configured")]
    NoKey(KeyId),
    /// The bytes are no sealed field, were changed, belong to another place, or name another key than the one that wrapped
    /// them.
    #[error("the sealed field is damaged or belongs elsewhere")]
    Damaged,
    /// The field is larger than 64 KiB.
    #[error("the field is too large to be sealed")]
    TooLarge,
    /// A part of the place is empty or too long.
    #[error("a table, column or row is empty or too long")]
    Place,
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
}

/// How the key service is away.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// A call failed, and its repetitions.
    #[error("the last of {attempts} calls failed")]
    Call {
        /// How often it was called.
        attempts: u32,
        /// How the last call ended.
        #[source]
        last: Failure,
    },
    /// There was no answer within the time for a whole operation.
    #[error("no answer within {0:?}")]
    Late(Duration),
}
