//! Serves one listener until the order to end, then drains it.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use tonic::service::Routes;
use tonic::transport::Server;

use super::Listener;
use super::listener::Incoming;
use super::request::RequestLayer;
use crate::Shutdown;
use crate::health::Health;

/// After the drain time, handlers in progress are answered `UNAVAILABLE`; so long may those answers take to leave.
const FAREWELL: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound of all headers of a request together, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Limits of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests handled at once, at least 1.
    pub max_concurrent: usize,
    /// Requests that wait for their turn; further ones are answered `OVERLOADED` at once.
    pub max_queued: usize,
    /// Size of one request message in bytes; a larger one is answered `PAYLOAD_TOO_LARGE` before it is read. tonic itself
    /// stops at 4 MiB unless the service says otherwise.
    pub max_message_bytes: u32,
    /// Requests open at once on one connection.
    pub max_streams_per_connection: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent: 256,
            max_queued: 1024,
            max_message_bytes: 1024 * 1024,
            max_streams_per_connection: 1024,
        }
    }
}

/// Why a listener ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bound socket cannot be used.
    #[error("listener `{name}`: the socket cannot be used")]
    Socket {
        /// The listener.
        name: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The descriptor set cannot be served by reflection.
    #[error("listener `{name}`: the descriptors cannot be served")]
    Reflection {
        /// The listener.
        name: &'static str,
        /// The cause.
        #[source]
        source: tonic_reflection::server::Error,
    },
    /// The server failed.
    #[error("listener `{name}`: the server failed")]
    Serve {
        /// The listener.
        name: &'static str,
        /// The cause.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Serves `routes`, health and reflection on `listener` until `shutdown`. Then no connection is accepted, requests in
/// progress end by themselves within the drain time, and what is left is answered `UNAVAILABLE`.
///
/// A [secured](Listener::secured) listener takes clients with a certificate only; handlers find it in the request's extensions,
/// as tonic's `TlsConnectInfo`.
///
/// Around every request: a bound on requests at once and on message size, a panic in a handler becomes `INTERNAL`, the
/// caller's trace context becomes current, one log line at debug level. Health and reflection are outside the bound on
/// requests, so an overloaded service can still say that it lives. A handler that waits for long gives its place back
/// through [`Permit`](super::Permit).
///
/// # Errors
/// The socket, the descriptors or the server cannot be used. `name` is for people: `quota`, `quota-steps`.
pub async fn serve(
    name: &'static str,
    listener: Listener,
    routes: Routes,
    health: &Health,
    shutdown: &Shutdown,
    limits: &Limits,
) -> Result<(), Error> {
    let (addr, scheme) = (listener.local_addr(), listener.scheme());
    let incoming = listener
        .incoming()
        .map_err(|source| Error::Socket { name, source })?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|source| Error::Reflection { name, source })?;
    let routes = routes.add_service(health.service()).add_service(reflection);
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .layer(RequestLayer::new(name, limits, shutdown));
    tracing::info!(listener = name, %addr, scheme, "listening");

    let router = server.add_routes(routes);
    let told = shutdown.token().cancelled_owned();
    let serving = async {
        match incoming {
            Incoming::Plain(incoming) => router.serve_with_incoming_shutdown(incoming, told).await,
            Incoming::Mutual(incoming) => router.serve_with_incoming_shutdown(incoming, told).await,
        }
    };
    let too_late = async {
        shutdown.expired().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        ended = serving => ended.map_err(|source| Error::Serve { name, source })?,
        () = too_late => tracing::warn!(listener = name, "connections are still open after the drain time; leaving them"),
    }
    tracing::info!(listener = name, "drained");
    Ok(())
}
