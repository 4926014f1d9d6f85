//! Gateway: HTTP/JSON, WebSocket and Server-Sent Events in front of the services.
//!
//! ```text
//!  connection ─► Server ─► Edge ─► CORS ─► bounds, ─► App ─┬─► page     /openapi.json, /docs, /errors/…
//!               times,     id,             gzip,          ├─► watch    WebSocket, SSE ◄── stream of the task service
//!                                                        ├─► notify   bytes of payment providers ─► billing service
//!               drain      count           panic          └─► call ─► idempotency ─► transcode ─► service over gRPC
//! ```
//!
//! What it is not: a place for business rules. It knows the contract (routes, who may call, shapes) by the descriptors; a new
//! annotated method is served as soon as its package has an address. Nor a TLS terminator: that is the ingress's.
//!
//! # Invariants
//! * Every answer that the gateway makes itself for a failure is `application/problem+json` with a reason of the catalogue.
//!   Bytes that are not HTTP are answered by the HTTP library, with 400 and no body.
//! * Nothing that a client sends as a header reaches a service, except by the list in `forward`.
//! * Without a user's verified token only methods that are public are called.
//! * Every body, header, queue and wait has a bound with a default in [`Config`].
//! * Order to end: no new connections; requests are answered, watchers are told to come back, then connections close.

#![expect(
    clippy::result_large_err,
    reason = "what fails here is a finished response, and is returned once"
)]

mod app;
mod body;
mod call;
mod client_ip;
mod config;
mod context;
mod edge;
mod forward;
mod metric;
mod notify;
mod page;
mod server;
mod socket;
mod spec;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use kv::Kv;
use process::Shutdown;
use process::grpc::Listener;
use proto::access::v1::Access;
use rpc::channel::Channel;
use token::Guard;
use transcode::Transcoder;

pub use crate::config::{Config, ConfigError};
pub use crate::server::Error as ServeError;
pub use crate::watch::WatchConfig;

/// What the gateway needs.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where the services of a package are: `evenkeel.task.v1`. Packages without an address have no routes.
    pub upstreams: BTreeMap<String, Channel>,
    /// Connections to the task service in the gateway's own name, for watching; a stream goes to the one with the fewest. One
    /// connection carries about a thousand streams.
    pub watch: Vec<token::Channel>,
    /// Who is calling.
    pub guard: Guard,
    /// Where idempotency keys and tickets are.
    pub kv: Kv,
    /// The order to end.
    pub shutdown: Shutdown,
}

/// Why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings are out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The idempotency settings are out of range.
    #[error(transparent)]
    Idempotency(#[from] idempotency::ConfigError),
    /// The annotations of the contract cannot be served.
    #[error("the routes of the contract cannot be served")]
    Routes(#[from] transcode::Error),
    /// A route cannot be served by this gateway.
    #[error("{method}: {problem}")]
    Method {
        /// The gRPC method.
        method: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The gateway, ready to be served.
#[derive(Debug, Clone)]
pub struct Gateway {
    edge: edge::Edge,
    config: Arc<Config>,
    shutdown: Shutdown,
}

/// Builds the gateway from the contract. Connects to nothing.
///
/// # Errors
/// Wrong settings, or annotations that cannot work.
pub fn build(config: Config, deps: Deps) -> Result<Gateway, Error> {
    config.check()?;
    metric::describe();
    let transcoder = routes(&deps.upstreams)?;
    let config = Arc::new(config);
    let app = app::App::new(&config, transcoder, &deps)?;
    Ok(Gateway {
        edge: edge::Edge::new(&config, app),
        config,
        shutdown: deps.shutdown,
    })
}

/// Reads the routes of every service whose package has an address.
fn routes(upstreams: &BTreeMap<String, Channel>) -> Result<Transcoder, Error> {
    let pool = proto::descriptor_pool();
    let services: Vec<_> = pool
        .services()
        .filter(|service| upstreams.contains_key(service.package_name()))
        .collect();
    let names: Vec<&str> = services.iter().map(|service| service.full_name()).collect();
    let transcoder = Transcoder::new(&pool, &names)?;
    let refuse = |method: &str, problem| Error::Method {
        method: method.to_owned(),
        problem,
    };
    for (_, _, method) in transcoder.bindings() {
        if method.is_server_streaming() || method.is_client_streaming() {
            return Err(refuse(method.full_name(), "streams are not served as HTTP/JSON"));
        }
        match token::Rule::of(method) {
            Some(token::Rule::Orchestrator) | None => {
                return Err(refuse(method.full_name(), "nobody outside may call it"));
            }
            Some(_) => {}
        }
    }
    Ok(transcoder)
}

impl Gateway {
    /// Serves connections until the order to end, then drains.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(self, listener: Listener) -> Result<(), ServeError> {
        server::serve(listener, self.edge, &self.config, &self.shutdown).await
    }

    /// Returns the OpenAPI 3.1 document that is served under `/openapi.json`.
    #[must_use]
    pub fn openapi(&self) -> &[u8] {
        self.edge.openapi()
    }
}

/// True if a method needs no token.
const fn is_public(access: Access) -> bool {
    matches!(access, Access::Public)
}
