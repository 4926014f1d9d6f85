//! A double of a text-generation provider.
//!
//! | request | meaning |
//! |---|---|
//! | `POST /v1/generate` `{"prompt": ".."}` | generates `{"id", "output", "model", "usage"}`; honours `Idempotency-Key` |
//! | `PUT /_program` `[rule, ..]` | replaces the [programme](Rule) |
//! | `GET /_program` | shows what is left of the programme |
//! | `GET /_books` | shows the [books](Books) |
//! | `GET /_health` | answers `ok` |
//!
//! A request with an `Idempotency-Key` seen before is answered with the stored answer and has no second effect. The
//! same key with another prompt is refused with 422. An effect happens when the request is accepted: a caller that
//! leaves while the answer is delayed has had its effect, and finds the answer under the same key.

mod books;
mod http;
mod program;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::books::{Books, Effect, Request};
pub use self::program::{Behaviour, Rule, check};

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct AiProvider {
    addr: SocketAddr,
    state: Arc<books::State>,
    _stop: DropGuard,
}

/// Starts a double on `addr`; port 0 picks a free one.
///
/// # Errors
/// If the address cannot be bound.
pub async fn start(addr: impl ToSocketAddrs) -> std::io::Result<AiProvider> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(books::State::default());
    let stop = CancellationToken::new();
    tokio::spawn({
        let (state, stop) = (Arc::clone(&state), stop.clone());
        async move {
            if let Err(error) = http::serve(listener, state, stop).await {
                tracing::error!(%error, "the AI provider double stopped");
            }
        }
    });
    Ok(AiProvider {
        addr,
        state,
        _stop: stop.drop_guard(),
    })
}

/// Serves a double on a bound listener until `shutdown` is cancelled. Requests that hang are cut off then.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
    http::serve(listener, Arc::new(books::State::default()), shutdown).await
}

impl AiProvider {
    /// Returns the base URL, `http://127.0.0.1:<port>`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Replaces the programme. Without a matching rule a request is answered at once.
    pub fn program(&self, rules: Vec<Rule>) {
        self.state.set_program(rules);
    }

    /// Returns every request received so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.books().requests
    }

    /// Returns the books so far.
    #[must_use]
    pub fn books(&self) -> Books {
        self.state.books()
    }
}
