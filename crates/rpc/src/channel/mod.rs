//! Client channels with the settings that matter.

mod dialer;
mod renewing;

use std::time::Duration;

use tonic::transport;
use tonic::transport::Endpoint;

pub use dialer::Dialer;
pub use renewing::Channel;

/// A connection that is not made within this time, its TLS handshake included, counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent connection is probed this often, so that a dead peer is noticed under long calls.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A URL is not usable as a gRPC endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is none.
    #[error("{url:?} is not a gRPC endpoint; expected http://host:port or https://host:port")]
    Url {
        /// What was configured.
        url: String,
        /// The cause.
        #[source]
        source: transport::Error,
    },
    /// Its host is no name that a certificate could have.
    #[error("{url:?} has no host that a certificate could name")]
    Host {
        /// What was configured.
        url: String,
    },
    /// It is `https`, and there is nothing to trust.
    #[error("{url:?} needs TLS: set tls.certificate, tls.key and tls.trust")]
    NoTls {
        /// What was configured.
        url: String,
    },
}

/// Returns a channel without TLS that connects on first use and reconnects by itself.
///
/// `TCP_NODELAY` is on: without it on both sides a small call waits 40 ms for a delayed acknowledgement.
///
/// # Errors
/// If the URL is not one, or is `https`, which a [`Dialer`] is for.
pub fn lazy(url: &str) -> Result<transport::Channel, EndpointError> {
    let endpoint = endpoint(url)?;
    if endpoint.uri().scheme_str() == Some("https") {
        return Err(EndpointError::NoTls { url: url.to_owned() });
    }
    Ok(endpoint.connect_lazy())
}

/// Returns the endpoint that [`lazy`] connects to, for callers that need to add to it.
///
/// # Errors
/// If the URL is not one.
pub fn endpoint(url: &str) -> Result<Endpoint, EndpointError> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|source| EndpointError::Url {
        url: url.to_owned(),
        source,
    })?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
