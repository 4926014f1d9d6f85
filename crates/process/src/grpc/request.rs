//! What surrounds every request.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use rpc::error::Reason;
use telemetry::trace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::Limits;
use super::body::{DOMAIN, SizeLimit};
use crate::Shutdown;
use crate::supervisor::panic_text;

/// Requests to these services take no place, so that they are answered under overload.
const OUTSIDE_THE_BOUND: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];

/// The place of a request among those handled at once. It is in the extensions of every request; a handler that is going
/// to wait for long releases it first.
#[derive(Debug, Clone)]
pub struct Permit(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Permit {
    /// Gives the place to the next request. Calling it again does nothing.
    pub fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Makes [`RequestService`]; all connections of a listener share it.
#[derive(Debug, Clone)]
pub(super) struct RequestLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    listener: &'static str,
    places: Arc<Semaphore>,
    queued: AtomicUsize,
    max_queued: usize,
    max_message_bytes: u32,
    expired: CancellationToken,
}

impl RequestLayer {
    pub(super) fn new(listener: &'static str, limits: &Limits, shutdown: &Shutdown) -> Self {
        Self(Arc::new(Shared {
            listener,
            places: Arc::new(Semaphore::new(
                limits.max_concurrent.clamp(1, Semaphore::MAX_PERMITS),
            )),
            queued: AtomicUsize::new(0),
            max_queued: limits.max_queued,
            max_message_bytes: limits.max_message_bytes,
            expired: shutdown.expired_token(),
        }))
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct RequestService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request<Body>> for RequestService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone stays for the next request; the one that was polled ready handles this one.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.surround(inner, request).await) })
    }
}

impl Shared {
    async fn surround<S>(&self, inner: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let begun = Instant::now();
        let method = request.uri().path().to_owned();
        let span =
            tracing::info_span!("request", listener = self.listener, method = %method, otel.kind = "server");
        let incoming = trace::extract(request.headers());
        if let Some(parent) = incoming {
            trace::set_parent(&span, parent);
        }
        // Without an exporter the caller's context, or a new one, is carried instead of a span.
        let current = span
            .in_scope(trace::current)
            .or(incoming)
            .unwrap_or_else(trace::Traceparent::random);
        let work = async {
            let response = tokio::select! {
                biased;
                response = self.admit_and_handle(inner, request) => response,
                () = self.expired.cancelled() => Reason::Unavailable.status(DOMAIN, "the server is shutting down").into_http(),
            };
            let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
            let duration_ms = begun.elapsed().as_secs_f64() * 1000.0;
            tracing::debug!(?code, duration_ms, "request");
            response
        };
        trace::scope(current, work.instrument(span)).await
    }

    async fn admit_and_handle<S>(&self, mut inner: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let mut request = request.map(|body| Body::new(SizeLimit::new(body, self.max_message_bytes)));
        let permit = if OUTSIDE_THE_BOUND
            .iter()
            .any(|prefix| request.uri().path().starts_with(prefix))
        {
            None
        } else {
            match self.admit().await {
                Some(permit) => Some(permit),
                None => {
                    return Reason::Overloaded
                        .status(DOMAIN, "too many requests at once; try again")
                        .into_http();
                }
            }
        };
        let permit = Permit(Arc::new(Mutex::new(permit)));
        request.extensions_mut().insert(permit.clone());
        // The call itself may panic as well as its future, hence the async block.
        let handled = AssertUnwindSafe(async { inner.call(request).await })
            .catch_unwind()
            .await;
        permit.release();
        match handled {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                tracing::error!(panic = panic_text(&*panic), "a request handler panicked");
                Reason::Internal.status(DOMAIN, "internal error").into_http()
            }
        }
    }

    /// Waits for a place; `None` if too many wait already.
    async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(permit);
        }
        if self.queued.fetch_add(1, Ordering::AcqRel) >= self.max_queued {
            self.queued.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let _queued = Queued(&self.queued);
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// Leaves the queue also if the caller gives up.
struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
