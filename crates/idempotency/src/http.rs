//! The layer for HTTP: POST, PUT and PATCH with a header `Idempotency-Key`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::request::Parts as RequestParts;
use ::http::response::Parts;
use ::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use rpc::error::Reason;

use crate::capture::BoxError;
use crate::exchange::{self, Opening, Protocol, boxed};
use crate::metric::{self, Outcome};
use crate::{Fingerprint, InvalidKey, Key, Scope, Store};

/// The header.
const NAME: HeaderName = HeaderName::from_static("idempotency-key");
/// Keeps keys of this server apart from those of services behind it.
const SPACE: &str = "http";

/// Makes requests with a key run once. Belongs inside of whatever authenticates and sets [`Scope`], and inside of
/// compression; outside of the routes.
///
/// `refuse` makes the response to a request that is not run, of its head, the reason, and when it may come again. The
/// request that is run has its [`Key`] as an extension.
#[derive(Debug, Clone)]
pub struct Layer<R> {
    store: Store,
    refuse: R,
}

impl<R> Layer<R> {
    /// Makes the layer.
    #[must_use]
    pub const fn new(store: Store, refuse: R) -> Self {
        Self { store, refuse }
    }
}

impl<S, R: Clone> tower::Layer<S> for Layer<R> {
    type Service = Service<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Service {
            inner,
            layer: self.clone(),
        }
    }
}

/// What [`Layer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Service<S, R> {
    inner: S,
    layer: Layer<R>,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, E>> + Send>>;

impl<S, R, B, C> tower::Service<Request<B>> for Service<S, R>
where
    S: tower::Service<Request<B>, Response = Response<C>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Fn(&RequestParts, Reason, Option<Duration>) -> Response<C> + Clone + Send + 'static,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError> + Unpin + Send,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was ready is used, and its clone becomes ready next time.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let key = may_have_key(request.method()).then(|| Key::of(request.headers(), &NAME).transpose());
        if matches!(key, Some(None)) {
            metric::request(Outcome::Bypassed);
        }
        let Some(key) = key.flatten() else {
            let call = inner.call(request);
            return Box::pin(async move { Ok(call.await?.map(boxed)) });
        };
        let Layer { store, refuse } = self.layer.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let opening = open(&store, &mut head, key, body).await;
            match opening {
                (Opening::Run(running), body) => {
                    let call = async move { inner.call(Request::from_parts(head, body.into())).await };
                    exchange::run::<Http, _, _>(running, call).await
                }
                (Opening::Replay(answer), _) => Ok(exchange::replay(answer)),
                (Opening::Refuse(refusal), _) => {
                    Ok(refuse(&head, refusal.reason, refusal.retry_after).map(boxed))
                }
            }
        })
    }
}

/// Reads the request and takes its key. Returns the body as well.
async fn open<B>(
    store: &Store,
    head: &mut RequestParts,
    key: Result<Key, InvalidKey>,
    body: B,
) -> (Opening, Bytes)
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let key = match key {
        Ok(key) => key,
        Err(error) => return (Opening::Refuse(exchange::invalid(error)), Bytes::new()),
    };
    let body = match exchange::read(body, store.config().max_body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return (Opening::Refuse(refusal), Bytes::new()),
    };
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = Fingerprint::of(&[head.method.as_str().as_bytes(), target.as_bytes(), &body]);
    let scope = head.extensions.get::<Scope>();
    let opening = exchange::open(store, scope, SPACE, &key, fingerprint).await;
    head.extensions.insert(key);
    (opening, body)
}

fn may_have_key(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

struct Http;

impl Protocol for Http {
    const FIELDS: &'static [&'static str] = &["content-type", "content-language", "location", "etag"];

    /// Not kept: failures of ours, what depends on the moment or on who asks (401, 408, 409, 425, 429), a client that has
    /// gone (499), and what one client understands and another may not: streams and encodings.
    fn begins_well(head: &Parts) -> bool {
        let status = head.status;
        let passing = [
            StatusCode::UNAUTHORIZED,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::CONFLICT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        !status.is_informational()
            && !status.is_server_error()
            && !passing.contains(&status)
            && status.as_u16() != 499
            && !head.headers.contains_key(header::CONTENT_ENCODING)
            && !is_stream(&head.headers)
    }

    fn ends_well(_: &Parts, trailers: Option<&HeaderMap>) -> bool {
        trailers.is_none()
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    [&b"text/event-stream"[..], b"application/x-ndjson"]
        .iter()
        .any(|stream| kind.len() >= stream.len() && kind[..stream.len()].eq_ignore_ascii_case(stream))
}
