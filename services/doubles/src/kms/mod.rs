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
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::keys::Keys;
pub use crate::tc3::Account;
use crate::{error_status, kept};

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

impl Behaviour {
    fn check(&self, index: usize) -> Result<(), String> {
        match self {
            Self::Status(code) => error_status(index, *code),
            Self::Answer
            | Self::Delay(_)
            | Self::Code(_)
            | Self::WrongSignature
            | Self::Hang
            | Self::Huge
            | Self::Garbage
            | Self::Cut
            | Self::Redirect(_)
            | Self::ShortKey => Ok(()),
        }
    }
}

/// Says what is wrong with a programme, if anything is, and in which place; places count from 0.
///
/// # Errors
/// The text.
pub fn check(next: &[Behaviour]) -> Result<(), String> {
    next.iter()
        .enumerate()
        .try_for_each(|(index, behaviour)| behaviour.check(index))
}

/// Who a double is: an account, and the master keys it holds. Those of a directory are written there at each change.
#[derive(Debug, Clone)]
pub struct Identity {
    kept: Kept,
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    account: Account,
    /// The master key that was made first.
    key_id: String,
    keys: Keys,
}

impl Kept {
    fn generate() -> Self {
        let mut keys = Keys::default();
        Self {
            account: Account::generate(),
            key_id: keys.create(),
            keys,
        }
    }
}

impl Identity {
    /// Makes up one that is forgotten with the double.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            kept: Kept::generate(),
            file: None,
        }
    }

    /// Reads the one that a directory has, or makes one there: `kms.json`, for its owner only. What it has sealed before,
    /// opens.
    ///
    /// # Errors
    /// The file cannot be read, written or understood; the text names it.
    pub fn in_dir(dir: &Path) -> std::io::Result<Self> {
        let file = dir.join("kms.json");
        Ok(Self {
            kept: kept::or_make(&file, || Ok(Kept::generate()))?,
            file: Some(file),
        })
    }

    /// Returns the environment variables that make services clients of a double at `url`.
    #[must_use]
    pub fn environment(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("KMS_REGION", "ap-guangzhou".to_owned()),
            ("KMS_SECRET_ID", self.kept.account.secret_id.clone()),
            ("KMS_SECRET_KEY", self.kept.account.secret_key.clone()),
            ("KMS_KEY_ID", self.kept.key_id.clone()),
            ("EVENKEEL_KMS__TENCENT__URL", url.to_owned()),
        ]
    }
}

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct KmsService {
    addr: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    account: Account,
    key_id: String,
    file: Option<PathBuf>,
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

    /// Changes the master keys, and keeps them if they are to outlive this double.
    fn change<T>(&self, change: impl FnOnce(&mut Keys) -> T) -> T {
        let mut inner = self.lock();
        let done = change(&mut inner.keys);
        let kept = Kept {
            account: self.account.clone(),
            key_id: self.key_id.clone(),
            keys: inner.keys.clone(),
        };
        if let Some(file) = &self.file
            && let Err(error) = serde_json::to_vec_pretty(&kept)
                .map_err(std::io::Error::from)
                .and_then(|text| kept::write(file, &text))
        {
            tracing::error!(%error, "the KMS double cannot keep its keys");
        }
        done
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
    resume(addr, Identity::generate()).await
}

/// Starts a double on `addr` that is one that was there before.
///
/// # Errors
/// If the address cannot be bound.
pub async fn resume(addr: impl ToSocketAddrs, known: Identity) -> std::io::Result<KmsService> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let Identity { kept, file } = known;
    let inner = Inner {
        keys: kept.keys,
        ..Inner::default()
    };
    let state = Arc::new(State {
        account: kept.account,
        key_id: kept.key_id,
        file,
        inner: Mutex::new(inner),
    });
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
        &self.state.key_id
    }

    /// Makes a further master key and returns its id.
    #[must_use]
    pub fn create_key(&self) -> String {
        self.state.change(Keys::create)
    }

    /// Gives a master key new material. What was encrypted before is still decrypted. False if there is no such key.
    pub fn rotate(&self, key_id: &str) -> bool {
        self.state.change(|keys| keys.rotate(key_id))
    }

    /// Disables or enables a master key. False if there is no such key.
    pub fn set_enabled(&self, key_id: &str, enabled: bool) -> bool {
        self.state.change(|keys| keys.set_enabled(key_id, enabled))
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
