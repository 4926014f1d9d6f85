//! Connections: HTTP/1.1 and HTTP/2 without TLS, bounded, drained.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use process::Shutdown;
use process::grpc::Listener;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::edge::Edge;
use crate::metric;
use crate::socket::Socket;

/// Buffer in which the head of an HTTP/1.1 request must fit: whatever is under it is answered in our shape, so it is well over
/// the largest heads that are allowed.
const HEAD_BUFFER_BYTES: usize = 96 * 1024;
/// As many headers are parsed; more than 100 are refused in our shape.
const PARSED_HEADERS: usize = 512;
/// The same for HTTP/2, where all headers together are bounded.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Requests open at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the listener ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bound socket cannot be used.
    #[error("the gateway's socket cannot be used")]
    Socket(#[source] io::Error),
}

pub(crate) async fn serve(
    listener: Listener,
    edge: Edge,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let addr = listener.local_addr();
    let listener = listener.into_tokio().map_err(Error::Socket)?;
    let builder = Arc::new(builder(config));
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let open = GracefulShutdown::new();
    tracing::info!(listener = "gateway", %addr, "listening");
    loop {
        // The semaphore is never closed.
        let Ok(place) = (tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = shutdown.requested() => break,
        }) else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Only slower without it.
        let _ = stream.set_nodelay(true);
        let socket = Socket::new(stream, config.head_timeout, config.write_timeout);
        let (edge, builder) = (edge.clone(), Arc::clone(&builder));
        let watcher = open.watcher();
        tokio::spawn(async move {
            let _held = (place, metric::Present::connection());
            connection(socket, peer, edge, &builder, watcher).await;
        });
    }
    drop(listener);
    let drained = async {
        open.shutdown().await;
        // A WebSocket is no longer a connection of the HTTP library. None is opened from here on.
        edge.watches_ended().await;
    };
    tokio::select! {
        () = drained => tracing::info!(listener = "gateway", "drained"),
        () = shutdown.expired() => {
            tracing::warn!(listener = "gateway", "connections are still open after the drain time; leaving them");
        }
    }
    Ok(())
}

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(HEAD_BUFFER_BYTES)
        .max_headers(PARSED_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .enable_connect_protocol();
    builder
}

async fn connection(
    socket: Socket,
    peer: SocketAddr,
    edge: Edge,
    builder: &auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |request| {
        let edge = edge.clone();
        async move { Ok::<_, Infallible>(edge.handle(request, peer.ip()).await) }
    });
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    if let Err(error) = watcher.watch(serving.into_owned()).await {
        tracing::debug!(error = &*error as &(dyn std::error::Error + 'static), %peer, "a connection failed");
    }
}
