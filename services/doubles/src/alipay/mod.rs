//! A double of Alipay: payments by QR code, refunds, transfers, bills, notifications; key mode and certificate mode.
//!
//! The gateway is `POST /gateway.do`; the routes beside it are those of [`pay`](crate::pay). An order is known to the API
//! only after its page was looked at, as at the real one: until then a query or a close finds no trade, and the code can
//! still be paid. It is written from the provider's documents, not from our client.

mod api;
mod bill;
mod calls;
mod content;
mod merchant;
mod notify;
mod platform;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::merchant::Merchant;
use self::platform::Platform;
use crate::kept;
use crate::pay::{Books, Core, Delivery, Options, Order, Rule, now};

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct Alipay {
    core: Arc<Core>,
    platform: Arc<Platform>,
    gateway: Arc<Mutex<String>>,
    _stop: DropGuard,
}

#[derive(Debug, Clone)]
struct State {
    core: Arc<Core>,
    platform: Arc<Platform>,
    /// Where the ends of transfers are told: a setting of the app, not of the call.
    gateway: Arc<Mutex<String>>,
}

/// The provider's keys, and those of the merchant it knows. Cheap to clone; making them takes up to a second.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Platform>);

impl Keys {
    /// Makes keys.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn generate() -> std::io::Result<Self> {
        Platform::new().map(|platform| Self(Arc::new(platform)))
    }

    /// Reads the keys that a directory has, or makes some there: `alipay.json`, for its owner only. A double that is
    /// started again with them is the same one.
    ///
    /// # Errors
    /// The file cannot be read, written or understood; the text names it.
    pub fn in_dir(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join("alipay.json");
        let kept = kept::or_make(&path, || Platform::new()?.kept())?;
        let platform = Platform::of(kept);
        platform
            .map(|platform| Self(Arc::new(platform)))
            .map_err(|error| kept::about(&path, &error))
    }

    /// Returns what the merchant needs.
    #[must_use]
    pub fn merchant(&self) -> Merchant {
        self.0.merchant.clone()
    }
}

/// Starts a double on `addr` with keys of its own and empty books; port 0 picks a free one.
///
/// # Errors
/// If the address cannot be bound, or no keys can be made.
pub async fn start(addr: impl ToSocketAddrs, options: Options) -> std::io::Result<Alipay> {
    let keys = tokio::task::spawn_blocking(Keys::generate)
        .await
        .map_err(std::io::Error::other)??;
    resume(addr, options, &keys, Books::default()).await
}

/// Starts a double with keys and books that are there already: those of one that stopped, or keys that several share.
/// What had been under way there, ends of refunds and notifications, is not taken up again.
///
/// # Errors
/// If the address cannot be bound.
pub async fn resume(
    addr: impl ToSocketAddrs,
    options: Options,
    keys: &Keys,
    books: Books,
) -> std::io::Result<Alipay> {
    let listener = TcpListener::bind(addr).await?;
    let platform = Arc::clone(&keys.0);
    let stop = CancellationToken::new();
    let protocol = Box::new(notify::Notifier(Arc::clone(&platform)));
    let core = Arc::new(Core::new(
        listener.local_addr()?,
        options,
        protocol,
        books,
        stop.clone(),
    )?);
    let gateway: Arc<Mutex<String>> = Arc::default();
    let state = State {
        core: Arc::clone(&core),
        platform: Arc::clone(&platform),
        gateway: Arc::clone(&gateway),
    };
    tokio::spawn({
        let stop = stop.clone();
        async move {
            let served = tokio::select! {
                served = axum::serve(listener, api::router(state)) => served,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the double of Alipay stopped");
            }
        }
    });
    Ok(Alipay {
        core,
        platform,
        gateway,
        _stop: stop.drop_guard(),
    })
}

impl Alipay {
    /// Returns the URL of the gateway.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/gateway.do", self.base_url())
    }

    /// Returns the base URL of the other routes, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.core.addr)
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.core.addr
    }

    /// Returns the keys, for [`resume`].
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys(Arc::clone(&self.platform))
    }

    /// Returns what a merchant needs.
    #[must_use]
    pub fn merchant(&self) -> Merchant {
        self.platform.merchant.clone()
    }

    /// Replaces the programme.
    pub fn program(&self, rules: Vec<Rule>) {
        *self.core.program() = rules;
    }

    /// Sets the app's gateway: where the ends of transfers are told.
    pub fn tell_transfers_to(&self, url: &str) {
        url.clone_into(&mut self.gateway.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds rules behind those of the programme.
    pub fn program_more(&self, rules: Vec<Rule>) {
        self.core.program().extend(rules);
    }

    /// Plays the payer. `None` if the order cannot be paid.
    #[must_use]
    pub fn pay(&self, number: &str) -> Option<Order> {
        self.core.pay(number).ok()
    }

    /// Plays the payer who looks, and does not pay yet. Says whether there is such an order.
    pub fn scan(&self, number: &str) -> bool {
        let now = now();
        self.core.books().order(number, now).is_ok_and(|order| {
            order.scanned = true;
            true
        })
    }

    /// Returns the books so far.
    #[must_use]
    pub fn books(&self) -> Books {
        self.core.books().clone()
    }

    /// Returns the attempts to deliver notifications so far, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.core.sent()
    }
}
