//! The layer for gRPC: unary methods with metadata `idempotency-key`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::response::Parts;
use ::http::{HeaderMap, HeaderName, Request, Response};
use bytes::Bytes;
use rpc::error::Reason;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::exchange::{self, Opening, Protocol};
use crate::metric::{self, Outcome};
use crate::{Fingerprint, InvalidKey, Key, Scope, Store};

/// The metadata.
const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// Makes calls with a key run once. Belongs inside of whatever authenticates and sets [`Scope`].
///
/// `is_unary` says of a path, `/package.Service/Method`, whether it is a unary method whose calls may have a key; all others
/// are passed through, since a stream cannot be told from a unary call before it ends. `refuse` makes the status of a call that
/// is not run. The call that is run has its [`Key`] as an extension. Services behind one store share nothing: the keys of
/// each are its own.
#[derive(Debug, Clone)]
pub struct Layer<U, R> {
    store: Store,
    is_unary: U,
    refuse: R,
}

impl<U, R> Layer<U, R> {
    /// Makes the layer.
    #[must_use]
    pub const fn new(store: Store, is_unary: U, refuse: R) -> Self {
        Self {
            store,
            is_unary,
            refuse,
        }
    }
}

impl<S, U: Clone, R: Clone> tower::Layer<S> for Layer<U, R> {
    type Service = Service<S, U, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Service {
            inner,
            layer: self.clone(),
        }
    }
}

/// What [`Layer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Service<S, U, R> {
    inner: S,
    layer: Layer<U, R>,
}

impl<S: tonic::server::NamedService, U, R> tonic::server::NamedService for Service<S, U, R> {
    const NAME: &'static str = S::NAME;
}

impl<S, U, R> tower::Service<Request<Body>> for Service<S, U, R>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    U: Fn(&str) -> bool + Clone + Send + 'static,
    R: Fn(Reason, Option<Duration>) -> Status + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was ready is used, and its clone becomes ready next time.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        if !(self.layer.is_unary)(request.uri().path()) {
            return Box::pin(inner.call(request));
        }
        let key = match Key::of(request.headers(), &NAME) {
            Ok(None) => {
                metric::request(Outcome::Bypassed);
                return Box::pin(inner.call(request));
            }
            Ok(Some(key)) => Ok(key),
            Err(error) => Err(error),
        };
        let Layer { store, refuse, .. } = self.layer.clone();
        Box::pin(async move {
            let (opening, request) = open(&store, key, request).await;
            match opening {
                Opening::Run(running) => {
                    let call = async move { inner.call(request).await };
                    let response = exchange::run::<Grpc, _, _>(running, call).await?;
                    Ok(response.map(Body::new))
                }
                Opening::Replay(answer) => Ok(exchange::replay(answer).map(Body::new)),
                Opening::Refuse(refusal) => Ok(refuse(refusal.reason, refusal.retry_after).into_http()),
            }
        })
    }
}

/// Reads the call and takes its key. Returns the call as well.
async fn open(
    store: &Store,
    key: Result<Key, InvalidKey>,
    request: Request<Body>,
) -> (Opening, Request<Body>) {
    let (mut head, body) = request.into_parts();
    let read = match key {
        Ok(key) => exchange::read(body, store.config().max_body_bytes)
            .await
            .map(|body| (key, body)),
        Err(error) => Err(exchange::invalid(error)),
    };
    let (key, body) = match read {
        Ok(read) => read,
        Err(refusal) => return (Opening::Refuse(refusal), Request::from_parts(head, Body::empty())),
    };
    let path = head.uri.path();
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let fingerprint = Fingerprint::of(&[path.as_bytes(), &body]);
    let scope = head.extensions.get::<Scope>();
    let opening = exchange::open(store, scope, service, &key, fingerprint).await;
    head.extensions.insert(key);
    let body = Body::new(http_body_util::Full::<Bytes>::new(body));
    (opening, Request::from_parts(head, body))
}

struct Grpc;

impl Protocol for Grpc {
    const FIELDS: &'static [&'static str] = &[
        "content-type",
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
    ];

    /// An encoding is understood by one client and perhaps not by another.
    fn begins_well(head: &Parts) -> bool {
        head.status.is_success()
            && head
                .headers
                .get("grpc-encoding")
                .is_none_or(|encoding| encoding == "identity")
    }

    /// Kept is what says yes, or a no that does not depend on the moment: the codes whose HTTP statuses are kept as well.
    fn ends_well(head: &Parts, trailers: Option<&HeaderMap>) -> bool {
        let status = trailers
            .and_then(|fields| fields.get("grpc-status"))
            .or_else(|| head.headers.get("grpc-status"));
        let Some(status) = status else {
            return false;
        };
        match Code::from_bytes(status.as_bytes()) {
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange => true,
            Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }
}
