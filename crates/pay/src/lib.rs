//! Clients of payment providers: one interface, and a folder for each provider behind it.
//!
//! * [`Provider`]: what the product asks of a provider, whichever it is.
//! * [`wechat`]: WeChat Pay, API v3.
//! * [`alipay`]: Alipay, RSA2.
//!
//! What it is not: billing. It keeps nothing, retries nothing, and decides nothing about an order.
//!
//! # Invariants
//! * A call ends in one of three ways, and which is never guessed: done, [refused](Failure::Refused) by a published
//!   code, or [unknown](Failure::Unknown). Timeouts, broken connections, 5xx and answers that cannot be verified are
//!   unknown, whatever they say.
//! * Nothing of an answer or a notification is believed before its signature over the bytes that came holds. Two
//!   exceptions carry a proof of their own: the file of a bill (its hash, or its address, is in a signed answer) and
//!   WeChat's certificates (encrypted with a key that only the merchant and WeChat have).
//! * Every answer, file and wait is bounded. Redirects are not followed.
//! * Private keys and symmetric keys are zeroised, and no `Debug` shows them.
//! * Outside data is parsed into types or refused; it causes no panic.
//!
//! A further provider is a folder with a type that implements [`Provider`]; nothing else names a provider.

pub mod alipay;
mod bill;
mod clock;
mod http;
mod keys;
mod money;
mod notify;
mod number;
mod outcome;
mod provider;
mod table;
pub mod wechat;

pub use bill::{Bill, BillLine};
pub use clock::Clock;
pub use http::{HttpClient, Timeouts};
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use money::{Currency, Money, MoneyError};
pub use notify::{Ack, Event, Notification, NotifyError};
pub use number::{Number, NumberError, Subject, SubjectError};
pub use outcome::{Doubt, Failure, Outcome, Reason, Refusal};
pub use provider::{
    Answer, Code, NewPayment, NewRefund, NewTransfer, Payment, PaymentState, Provider, Recipient, Refund,
    RefundState, Transfer, TransferState,
};

/// A wrong setting of a client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting is empty, too long, or has characters that it cannot have.
    #[error("{0} is not a usable value")]
    Value(&'static str),
    /// The base URL is not `http(s)://host` with a path that the provider has.
    #[error("the URL is not that of a provider: {0}")]
    Url(String),
    /// A key cannot be read.
    #[error("the key {name} cannot be read")]
    Key {
        /// Name of the setting.
        name: &'static str,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// No HTTP client can be made.
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
}
