//! Client channels with the settings that matter.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// A connection that is not made within this time counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent connection is probed this often, so that a dead peer is noticed under long calls.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A URL is not usable as a gRPC endpoint.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not a gRPC endpoint; expected http://host:port or https://host:port")]
pub struct EndpointError {
    /// What was configured.
    pub url: String,
    #[source]
    source: tonic::transport::Error,
}

/// Returns a channel that connects on first use and reconnects by itself.
///
/// `TCP_NODELAY` is on: without it on both sides a small call waits 40 ms for a delayed acknowledgement.
///
/// # Errors
/// If the URL is not one.
pub fn lazy(url: &str) -> Result<Channel, EndpointError> {
    Ok(endpoint(url)?.connect_lazy())
}

/// Returns the endpoint that [`lazy`] connects to, for callers that need to add to it.
///
/// # Errors
/// If the URL is not one.
pub fn endpoint(url: &str) -> Result<Endpoint, EndpointError> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|source| EndpointError {
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
