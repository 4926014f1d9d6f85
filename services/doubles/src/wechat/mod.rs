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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// App id.
    pub app_id: String,
    /// App secret.
    pub secret: String,
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
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State {
        app: App {
            app_id: format!("wx{}", crate::random_text()),
            secret: crate::random_text(),
        },
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

    /// Returns the mini program. Made at the start.
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
