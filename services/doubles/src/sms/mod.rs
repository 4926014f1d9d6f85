//! A double of Tencent Cloud SMS, API 3.0, `SendSms`.
//!
//! | request | meaning |
//! |---|---|
//! | `POST /` with `X-TC-Action: SendSms` | checks the signature, books the message, answers as the API does |
//! | `PUT /_program` `[behaviour, ..]` | what becomes of the next requests, one each |
//! | `GET /_program` | shows what is left of the programme |
//! | `GET /_books` | shows the messages: `[{"phone", "code", "template"}]` |
//!
//! The signature is computed here from the provider's document, not with the client's code.

mod http;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::tc3::Account;
use crate::{error_status, kept};

/// Messages that are kept; older ones are forgotten.
const KEPT_MESSAGES: usize = 10_000;

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The number, E.164.
    pub phone: String,
    /// First parameter of the template.
    pub code: String,
    /// Id of the template.
    pub template: String,
}

/// What becomes of a request whose signature is right. As JSON: `"cut"`, `{"status": 503}`,
/// `{"code": "LimitExceeded.DeliveryFrequencyLimit"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Answers as usual.
    Send,
    /// Sends, and answers after so many milliseconds.
    Delay(u64),
    /// Answers with an HTTP status. Nothing is sent.
    Status(u16),
    /// Answers with a redirect to this URL. Nothing is sent.
    Redirect(String),
    /// Answers with a code of the API for the message. Nothing is sent.
    Code(String),
    /// Never answers. Nothing is sent.
    Hang,
    /// Answers with 1 MiB. Nothing is sent.
    Huge,
    /// Sends, and breaks the connection in the middle of the answer.
    Cut,
}

impl Account {
    /// Reads the account that a directory has, or makes one there: `sms.json`, for its owner only.
    ///
    /// # Errors
    /// The file cannot be read, written or understood; the text names it.
    pub fn in_dir(dir: &Path) -> std::io::Result<Self> {
        kept::or_make(&dir.join("sms.json"), || Ok(Self::generate()))
    }

    /// Returns the environment variables that make the auth service a client of a double at `url`.
    #[must_use]
    pub fn environment(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("EVENKEEL_AUTH__SMS__SECRET_ID", self.secret_id.clone()),
            ("EVENKEEL_AUTH__SMS__SECRET_KEY", self.secret_key.clone()),
            ("EVENKEEL_AUTH__SMS__APP_ID", "1400000000".to_owned()),
            ("EVENKEEL_AUTH__SMS__SIGN", "Evenkeel".to_owned()),
            ("EVENKEEL_AUTH__SMS__TEMPLATE", "1".to_owned()),
            ("EVENKEEL_AUTH__SMS__URL", url.to_owned()),
        ]
    }
}

/// Says what is wrong with a programme, if anything is, and in which place; places count from 0.
///
/// # Errors
/// The text.
pub fn check(next: &[Behaviour]) -> Result<(), String> {
    next.iter()
        .enumerate()
        .try_for_each(|(index, behaviour)| match behaviour {
            Behaviour::Status(code) => error_status(index, *code),
            Behaviour::Send
            | Behaviour::Delay(_)
            | Behaviour::Redirect(_)
            | Behaviour::Code(_)
            | Behaviour::Hang
            | Behaviour::Huge
            | Behaviour::Cut => Ok(()),
        })
}

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct SmsProvider {
    addr: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    account: Account,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    program: VecDeque<Behaviour>,
    messages: VecDeque<Message>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, message: Message) {
        let mut inner = self.lock();
        if inner.messages.len() == KEPT_MESSAGES {
            inner.messages.pop_front();
        }
        inner.messages.push_back(message);
    }
}

/// Starts a double on `addr` with a key of its own; port 0 picks a free one.
///
/// # Errors
/// If the address cannot be bound.
pub async fn start(addr: impl ToSocketAddrs) -> std::io::Result<SmsProvider> {
    resume(addr, Account::generate()).await
}

/// Starts a double with an account that clients know already, and empty books.
///
/// # Errors
/// If the address cannot be bound.
pub async fn resume(addr: impl ToSocketAddrs, account: Account) -> std::io::Result<SmsProvider> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State {
        account,
        inner: Mutex::default(),
    });
    let stop = CancellationToken::new();
    tokio::spawn({
        let (state, stop) = (Arc::clone(&state), stop.clone());
        async move {
            if let Err(error) = http::serve(listener, state, stop).await {
                tracing::error!(%error, "the SMS double stopped");
            }
        }
    });
    Ok(SmsProvider {
        addr,
        state,
        _stop: stop.drop_guard(),
    })
}

impl SmsProvider {
    /// Returns the base URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns what a client has to sign with.
    #[must_use]
    pub fn account(&self) -> Account {
        self.state.account.clone()
    }

    /// Says what becomes of the next requests, one each; later ones are answered as usual.
    pub fn program(&self, next: Vec<Behaviour>) {
        self.state.lock().program = next.into();
    }

    /// Returns the messages sent so far, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().messages.iter().cloned().collect()
    }
}
