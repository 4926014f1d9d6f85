//! A double of Tencent Cloud's key management service, API 3.0, version 2019-01-18: `GenerateDataKey`, `Decrypt`,
//! `Encrypt`, `ReEncrypt`, `DescribeKey`.
//!
//! | request | meaning |
//! |---|---|
//! | `POST /` with `X-TC-Action` | checks the signature, which has to cover the action, books the call, answers as the API does |
//! | `PUT /_program` `[behaviour, ..]` | what becomes of the next requests, one each |
//! | `GET /_program` | shows what is left of the programme |
//! | `GET /_books` | shows the calls: `[{"action", "key_id", "context", "code"}]`; never a plaintext |
//! | `POST /_keys` | makes a master key: `{"key_id"}` |
//! | `POST /_keys/{id}/rotate` | gives a master key new material, as the service does once a year |
//! | `POST /_keys/{id}/disable`, `POST /_keys/{id}/enable` | a disabled key neither encrypts nor decrypts |

mod http;
mod keys;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::keys::Keys;
pub use crate::tc3::Account;

/// Calls that are kept; older ones are forgotten.
const KEPT_CALLS: usize = 10_000;

/// A call whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The action.
    pub action: String,
    /// The master key that was named, if one was.
    pub key_id: Option<String>,
    /// The encryption context, if there was one; that of the source for `ReEncrypt`.
    pub context: Option<String>,
    /// The code that was answered; `Ok` is ours.
    pub code: String,
}

/// What becomes of a request whose signature is right. As JSON: `"cut"`, `{"status": 503}`,
/// `{"code": "RequestLimitExceeded"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Answers as usual.
    Answer,
    /// Answers as usual after so many milliseconds.
    Delay(u64),
    /// Answers with an HTTP status and nothing else.
    Status(u16),
    /// Answers with a code of the API.
    Code(String),
    /// Answers as if the signature were wrong.
    WrongSignature,
    /// Never answers.
    Hang,
    /// Answers with 1 MiB.
    Huge,
    /// Answers with something that is not JSON, as a broken proxy does.
    Garbage,
    /// Breaks the connection in the middle of the answer.
    Cut,
    /// Answers with a redirect to this URL.
    Redirect(String),
    /// Answers with a plaintext that is 16 bytes long, whatever was asked for.
    ShortKey,
}

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct KmsService {
    addr: SocketAddr,
    state: Arc<State>,
    key_id: String,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    account: Account,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: Keys,
    program: VecDeque<Behaviour>,
    calls: VecDeque<Call>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, call: Call) {
        let mut inner = self.lock();
        if inner.calls.len() == KEPT_CALLS {
            inner.calls.pop_front();
        }
        inner.calls.push_back(call);
    }
}

/// Starts a double on `addr` with an account and one master key; port 0 picks a free one.
///
/// # Errors
/// If the address cannot be bound.
pub async fn start(addr: impl ToSocketAddrs) -> std::io::Result<KmsService> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State {
        account: Account::generate(),
        inner: Mutex::default(),
    });
    let key_id = state.lock().keys.create();
    let stop = CancellationToken::new();
    tokio::spawn({
        let (state, stop) = (Arc::clone(&state), stop.clone());
        async move {
            if let Err(error) = http::serve(listener, state, stop).await {
                tracing::error!(%error, "the KMS double stopped");
            }
        }
    });
    Ok(KmsService {
        addr,
        state,
        key_id,
        _stop: stop.drop_guard(),
    })
}

impl KmsService {
    /// Returns the base URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns what a client has to sign with. Made at the start.
    #[must_use]
    pub fn account(&self) -> Account {
        self.state.account.clone()
    }

    /// Returns the id of the master key that was made at the start.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Makes a further master key and returns its id.
    #[must_use]
    pub fn create_key(&self) -> String {
        self.state.lock().keys.create()
    }

    /// Gives a master key new material. What was encrypted before is still decrypted. False if there is no such key.
    pub fn rotate(&self, key_id: &str) -> bool {
        self.state.lock().keys.rotate(key_id)
    }

    /// Disables or enables a master key. False if there is no such key.
    pub fn set_enabled(&self, key_id: &str, enabled: bool) -> bool {
        self.state.lock().keys.set_enabled(key_id, enabled)
    }

    /// Says what becomes of the next requests, one each; later ones are answered as usual.
    pub fn program(&self, next: Vec<Behaviour>) {
        self.state.lock().program = next.into();
    }

    /// Returns the calls so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.iter().cloned().collect()
    }
}
