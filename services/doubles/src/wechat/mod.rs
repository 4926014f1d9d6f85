//! A double of WeChat's login of mini programs, `code2Session`.
//!
//! | request | meaning |
//! |---|---|
//! | `GET /sns/jscode2session?appid&secret&js_code&grant_type` | answers as the API does; a code is good once |
//! | `POST /_codes` `{"openid", "unionid"?}` | a person opens the mini program: `{"code"}` |
//! | `PUT /_program` `[behaviour, ..]` | what becomes of the next requests, one each |
//! | `GET /_program` | shows what is left of the programme |

mod http;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{error_status, kept};

/// Codes that are kept at once.
const KEPT_CODES: usize = 100_000;

/// What becomes of a request. As JSON: `"garbage"`, `{"code": 45011}`, `{"status": 502}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Answers as usual.
    Answer,
    /// Uses the code up, and answers after so many milliseconds.
    Delay(u64),
    /// Answers with an `errcode`. The code is not used up.
    Code(i64),
    /// Answers with an HTTP status.
    Status(u16),
    /// Answers with a redirect to this URL. The code is not used up.
    Redirect(String),
    /// Answers with something that is not JSON.
    Garbage,
    /// Answers with 1 MiB.
    Huge,
    /// Never answers. The code is used up.
    Hang,
}

/// The mini program that the double knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// App id.
    pub app_id: String,
    /// App secret.
    pub secret: String,
}

impl App {
    /// Makes up a mini program.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            app_id: format!("wx{}", crate::random_text()),
            secret: crate::random_text(),
        }
    }

    /// Reads the mini program that a directory has, or makes one there: `wechat.json`, for its owner only.
    ///
    /// # Errors
    /// The file cannot be read, written or understood; the text names it.
    pub fn in_dir(dir: &Path) -> std::io::Result<Self> {
        kept::or_make(&dir.join("wechat.json"), || Ok(Self::generate()))
    }

    /// Returns the environment variables that make the auth service a client of a double at `url`.
    #[must_use]
    pub fn environment(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("WECHAT_APPID", self.app_id.clone()),
            ("WECHAT_SECRET", self.secret.clone()),
            ("EVENKEEL_AUTH__WECHAT__URL", url.to_owned()),
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
            Behaviour::Answer
            | Behaviour::Delay(_)
            | Behaviour::Code(_)
            | Behaviour::Redirect(_)
            | Behaviour::Garbage
            | Behaviour::Huge
            | Behaviour::Hang => Ok(()),
        })
}

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct WechatLogin {
    addr: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    app: App,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    program: VecDeque<Behaviour>,
    codes: HashMap<String, Person>,
}

/// Who opened the mini program, and whether the code was used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    openid: String,
    unionid: Option<String>,
    #[serde(skip)]
    used: bool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a code; `None` if too many are kept.
    fn code(&self, person: Person) -> Option<String> {
        let mut inner = self.lock();
        if inner.codes.len() >= KEPT_CODES {
            return None;
        }
        let code = crate::random_text();
        inner.codes.insert(code.clone(), person);
        Some(code)
    }
}

/// Starts a double on `addr` with an app of its own; port 0 picks a free one.
///
/// # Errors
/// If the address cannot be bound.
pub async fn start(addr: impl ToSocketAddrs) -> std::io::Result<WechatLogin> {
    resume(addr, App::generate()).await
}

/// Starts a double with a mini program that clients know already. Codes of one that stopped are not good any more.
///
/// # Errors
/// If the address cannot be bound.
pub async fn resume(addr: impl ToSocketAddrs, app: App) -> std::io::Result<WechatLogin> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State {
        app,
        inner: Mutex::default(),
    });
    let stop = CancellationToken::new();
    tokio::spawn({
        let (state, stop) = (Arc::clone(&state), stop.clone());
        async move {
            if let Err(error) = http::serve(listener, state, stop).await {
                tracing::error!(%error, "the WeChat double stopped");
            }
        }
    });
    Ok(WechatLogin {
        addr,
        state,
        _stop: stop.drop_guard(),
    })
}

impl WechatLogin {
    /// Returns the base URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the mini program.
    #[must_use]
    pub fn app(&self) -> App {
        self.state.app.clone()
    }

    /// Makes a code, as when a person opens the mini program.
    ///
    /// # Panics
    /// If 100,000 codes were made already.
    #[must_use]
    pub fn code(&self, openid: &str, unionid: Option<&str>) -> String {
        let person = Person {
            openid: openid.to_owned(),
            unionid: unionid.map(str::to_owned),
            used: false,
        };
        self.state.code(person).expect("a test makes fewer codes")
    }

    /// Says what becomes of the next requests, one each; later ones are answered as usual.
    pub fn program(&self, next: Vec<Behaviour>) {
        self.state.lock().program = next.into();
    }
}
