//! A double of WeChat Pay, API v3: Native payments, refunds, transfers to change, bills, notifications.
//!
//! The routes beside the API are those of [`pay`](crate::pay). Requests have to be signed with the merchant's key;
//! answers and notifications are signed with the platform's, as a public key or as a certificate, whichever the client's
//! `Wechatpay-Serial` asks for: an answer by that of its request, a notification by that of the last one. It is written from the provider's documents, not from our client.

mod api;
mod auth;
mod bill;
mod calls;
mod json;
mod merchant;
mod notify;
mod platform;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::merchant::Merchant;
use self::platform::Platform;
use crate::kept;
use crate::pay::{Books, Core, Delivery, Options, Order, Rule, Transfer, TransferState};

/// A running double. It stops when this handle is dropped.
#[derive(Debug)]
pub struct WeChatPay {
    core: Arc<Core>,
    platform: Arc<Platform>,
    _stop: DropGuard,
}

#[derive(Debug, Clone)]
struct State {
    core: Arc<Core>,
    platform: Arc<Platform>,
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

    /// Reads the keys that a directory has, or makes some there: `wechatpay.json`, for its owner only. A double that is
    /// started again with them is the same one.
    ///
    /// # Errors
    /// The file cannot be read, written or understood; the text names it.
    pub fn in_dir(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join("wechatpay.json");
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
pub async fn start(addr: impl ToSocketAddrs, options: Options) -> std::io::Result<WeChatPay> {
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
) -> std::io::Result<WeChatPay> {
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
    let state = State {
        core: Arc::clone(&core),
        platform: Arc::clone(&platform),
    };
    tokio::spawn({
        let stop = stop.clone();
        async move {
            let served = tokio::select! {
                served = axum::serve(listener, api::router(state)) => served,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the double of WeChat Pay stopped");
            }
        }
    });
    Ok(WeChatPay {
        core,
        platform,
        _stop: stop.drop_guard(),
    })
}

impl WeChatPay {
    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.core.addr
    }

    /// Returns the base URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.core.addr)
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

    /// Adds rules behind those of the programme.
    pub fn program_more(&self, rules: Vec<Rule>) {
        self.core.program().extend(rules);
    }

    /// Plays the payer. `None` if the order cannot be paid.
    #[must_use]
    pub fn pay(&self, number: &str) -> Option<Order> {
        self.core.pay(number).ok()
    }

    /// Plays the recipient of a transfer, who accepts or does not. `None` if it has ended, or there is none.
    #[must_use]
    pub fn end_transfer(&self, number: &str, state: TransferState) -> Option<Transfer> {
        self.core.end_transfer(number, state).ok()
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

    /// Signs with another certificate from now on.
    ///
    /// # Errors
    /// If none can be made.
    pub fn rotate_certificate(&self) -> std::io::Result<()> {
        self.platform.rotate()
    }
}
