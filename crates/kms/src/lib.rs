//! Envelope encryption of fields at rest: provider keys, tokens, whatever else must not be read out of a database.
//!
//! Every field is sealed under a 256-bit data key of its own (AES-256-GCM). The data key lies beside the field, wrapped by
//! a key-encryption key that the database never sees: from a [key file](LocalKeys), or in Tencent Cloud's
//! [key management service](Tencent). ADR 0018 has the format and the reasons.
//!
//! * [`Kms`] seals, opens and re-wraps. Which provider is behind it says [`Config`].
//! * [`rewrap`] walks the rows of a table after the key was changed, while others read and write them.
//!
//! What it is not: a way to find rows by an encrypted field (that is a blind index, `auth::sealed`), or to keep large
//! objects secret.
//!
//! # Invariants
//! * A field opens in its place only (table, column, row), and only under the key that its envelope names: both are
//!   authenticated, also where an unwrapped key is remembered.
//! * Re-wrapping changes how the data key is wrapped and nothing else, and gives back nothing that it has not opened.
//! * Outside bytes are parsed into types or refused; they cause no panic.
//! * A provider that is away is [`Error::Unavailable`] within a stated time, never a hang.
//! * No key, data key or plaintext is in an error, a `Debug` or a log line. Keys are zeroised when they are dropped.

mod aad;
mod cache;
mod config;
mod data_key;
mod envelope;
mod error;
mod key_id;
mod keyring;
mod local;
mod provider;
pub mod rewrap;
mod tencent;

pub use aad::Place;
pub use config::{Choice, Config, ConfigError, LocalConfig, TencentConfig};
pub use error::{Error, Unavailable};
pub use key_id::{KeyId, Kind};
pub use keyring::Kms;
pub use local::{Change, FileError, LocalKeys, Outcome, change_file, create_file};
pub use provider::Provider;
pub use tencent::{Patience, Tencent};

/// Largest field that is sealed, in bytes.
pub const MAX_PLAIN_BYTES: usize = 64 * 1024;
