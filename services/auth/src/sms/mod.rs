//! Messages with codes, through Tencent Cloud SMS.

mod tencent;

use std::time::Duration;

use crate::phone::Phone;

pub use tencent::{Config, Tencent};

/// Sends codes. Cheap to clone.
#[derive(Debug, Clone)]
pub enum SmsSender {
    /// Nobody is configured: every code is refused.
    Disabled,
    /// Tencent Cloud, or a double of it.
    Tencent(Tencent),
}

/// Why a message was not sent, as far as we know.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No provider is configured.
    #[error("no SMS provider is configured: set auth.sms.secret_id, secret_key, app_id, sign and template")]
    Disabled,
    /// The settings are not usable.
    #[error("auth.sms: {0}")]
    Config(String),
    /// The provider did not answer in time, or not as it should. The message may have been sent.
    #[error("the SMS provider did not answer as it should: {0}")]
    Unknown(String),
    /// The provider refuses this number.
    #[error("the SMS provider refuses the number ({0})")]
    Number(String),
    /// The provider's own limits are reached.
    #[error("the SMS provider limits us ({code})")]
    Limited {
        /// The provider's code.
        code: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The provider refuses for another reason, for example our credentials.
    #[error("the SMS provider refuses ({0})")]
    Refused(String),
}

impl SmsSender {
    /// Makes the sender that is configured.
    ///
    /// # Errors
    /// The settings are incomplete or wrong.
    pub fn new(config: &Config) -> Result<Self, Error> {
        if config.secret_id.is_empty() {
            return Ok(Self::Disabled);
        }
        Tencent::new(config).map(Self::Tencent)
    }

    /// Sends a code.
    ///
    /// # Errors
    /// It was not sent, or nobody knows.
    pub async fn send(&self, phone: &Phone, code: &str) -> Result<(), Error> {
        match self {
            Self::Disabled => Err(Error::Disabled),
            Self::Tencent(tencent) => tencent.send(phone, code).await,
        }
    }
}
