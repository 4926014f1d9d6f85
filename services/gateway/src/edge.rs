//! What surrounds every request: its id, its bounds, its trace, what is counted, and what every answer carries.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use rpc::error::Reason;
use telemetry::trace;
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::app::{App, Label, NO_ROUTE};
use crate::client_ip::client_ip;
use crate::config::Config;
use crate::context::{Context, REQUEST_ID};
use crate::metric;

/// Smaller answers are not compressed: it would not save a packet.
const COMPRESS_FROM_BYTES: u64 = 1024;
/// Most headers of one request.
const MAX_HEADERS: usize = 100;
/// Whoever is refused for want of a place may come again after this time.
pub(crate) const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Browsers may remember for so long what they may call.
const PREFLIGHT_LIFE: Duration = Duration::from_secs(60 * 60);
/// Label of questions that browsers ask before they call.
const PREFLIGHT: &str = "preflight";

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Surrounds requests. Clones share everything.
#[derive(Clone)]
pub(crate) struct Edge(Arc<Shared>);

struct Shared {
    config: Arc<Config>,
    app: App,
    /// For browsers on other sites.
    cross_origin: Inner,
    /// For everybody else.
    plain: Inner,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

impl Edge {
    pub(crate) fn new(config: &Arc<Config>, app: App) -> Self {
        let answering = app.clone();
        let answer = tower::service_fn(move |request: Request<Body>| {
            let app = answering.clone();
            async move {
                let context = context(&request);
                Ok::<_, Infallible>(app.answer(request, &context).await)
            }
        });
        let worth_it =
            SizeAbove::new(COMPRESS_FROM_BYTES).and(NotForContentType::const_new("text/event-stream"));
        let compressed = CompressionLayer::new()
            .compress_when(worth_it)
            .layer(answer)
            .map_response(|response: Response<_>| response.map(Body::new));
        let bounded = Bounded {
            config: Arc::clone(config),
            places: Arc::new(Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS))),
            answering: Inner::new(compressed),
        };
        let plain = Inner::new(tower::service_fn(move |request| {
            let bounded = bounded.clone();
            async move { Ok::<_, Infallible>(bounded.answer(request).await) }
        }));
        let cross_origin = Inner::new(cors(config).layer(plain.clone()));
        Self(Arc::new(Shared {
            config: Arc::clone(config),
            app,
            cross_origin,
            plain,
        }))
    }

    pub(crate) fn openapi(&self) -> &[u8] {
        self.0.app.openapi()
    }

    /// Waits until no watch is open; to be called when no request comes any more.
    pub(crate) async fn watches_ended(&self) {
        self.0.app.watches_ended().await;
    }

    /// Answers one request of a connection from `peer`.
    pub(crate) async fn handle<B>(&self, request: Request<B>, peer: IpAddr) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let begun = Instant::now();
        let client = client_ip(peer, request.headers(), &self.0.config.trusted_proxies);
        let context = Context::new(request.headers(), client);
        let method = request.method().clone();
        let span = tracing::info_span!(
            "http",
            otel.kind = "server",
            method = method.as_str(),
            route = Empty,
            status = Empty,
            request_id = context.request_id()
        );
        let incoming = trace::extract(request.headers());
        if let Some(parent) = incoming {
            trace::set_parent(&span, parent);
        }
        let current = span
            .in_scope(trace::current)
            .or(incoming)
            .unwrap_or_else(trace::Traceparent::random);
        let seen = span.clone();
        let work = async {
            let mut response = self.surround(request.map(Body::new), &context).await;
            finish(&mut response, &method, &context);
            let label = response.extensions_mut().remove::<Label>();
            let route = label.map_or_else(|| NO_ROUTE.to_owned(), |label| label.0);
            trace::rename(&seen, format!("{method} {route}"));
            seen.record("route", &route);
            seen.record("status", response.status().as_u16());
            let took = begun.elapsed();
            log(&response, took);
            metric::answered(&method, route, response.status(), took);
            response
        };
        trace::scope(current, work.instrument(span)).await
    }

    async fn surround(&self, mut request: Request<Body>, context: &Context) -> Response<Body> {
        let preflight = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        // OPTIONS that is no preflight is a method like others.
        let cross_origin = request.headers().contains_key(header::ORIGIN)
            && (preflight || request.method() != Method::OPTIONS);
        let service = if cross_origin {
            &self.0.cross_origin
        } else {
            &self.0.plain
        };
        request.extensions_mut().insert(context.clone());
        match service.clone().oneshot(request).await {
            Ok(mut response) => {
                if cross_origin && preflight {
                    response.extensions_mut().insert(Label(PREFLIGHT.to_owned()));
                }
                response
            }
            Err(never) => match never {},
        }
    }
}

/// Answers requests within bounds. Refusals are made here, inside of CORS, so that pages can read them.
#[derive(Clone)]
struct Bounded {
    config: Arc<Config>,
    places: Arc<Semaphore>,
    answering: Inner,
}

impl Bounded {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let context = context(&request);
        if let Some(refusal) = self.check(&request, &context) {
            return refusal;
        }
        let Ok(_place) = self.places.try_acquire() else {
            let text = "too many requests at once; try again";
            return context.refuse_for(Reason::Overloaded, text, Some(OVERLOAD_PAUSE));
        };
        let _present = metric::Present::request();
        let answer = AssertUnwindSafe(self.answering.clone().oneshot(request)).catch_unwind();
        match answer.await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                tracing::error!(
                    panic = process::panic_text(&*panic),
                    "the answer to a request panicked"
                );
                context.refuse(Reason::Internal, Reason::Internal.text_en())
            }
        }
    }

    /// Refuses heads that are too large.
    fn check(&self, request: &Request<Body>, context: &Context) -> Option<Response<Body>> {
        let Config {
            max_uri_bytes,
            max_header_bytes,
            ..
        } = *self.config;
        let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
        if uri > max_uri_bytes {
            let text = format!("path and query are longer than {max_uri_bytes} bytes");
            return Some(context.refuse(Reason::UriTooLong, text));
        }
        let headers = request.headers();
        if headers.len() > MAX_HEADERS {
            let text = format!("there are more than {MAX_HEADERS} headers");
            return Some(context.refuse(Reason::HeadersTooLarge, text));
        }
        if bytes(headers) > max_header_bytes {
            let text = format!("the headers are larger than {max_header_bytes} bytes");
            return Some(context.refuse(Reason::HeadersTooLarge, text));
        }
        None
    }
}

fn context(request: &Request<Body>) -> Context {
    let context = request.extensions().get::<Context>().cloned();
    context.expect("put there by `surround`")
}

/// Size of headers as HTTP/1.1 writes them.
fn bytes(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum()
}

/// What browsers on other sites may do.
fn cors(config: &Arc<Config>) -> CorsLayer {
    let allowed = Arc::clone(config);
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            allowed.allows_origin(origin)
        }))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::ACCEPT_LANGUAGE,
            name("idempotency-key"),
            name("last-event-id"),
            name(REQUEST_ID),
            name(trace::HEADER),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            name("idempotency-replayed"),
            name(REQUEST_ID),
        ])
        .max_age(PREFLIGHT_LIFE)
}

/// Adds what every answer carries, and takes away the body that HEAD does not get.
fn finish(response: &mut Response<Body>, method: &Method, context: &Context) {
    if method == Method::HEAD {
        let length = response.body().size_hint().exact();
        *response.body_mut() = Body::empty();
        if let Some(length) = length {
            response
                .headers_mut()
                .entry(header::CONTENT_LENGTH)
                .or_insert_with(|| length.into());
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

fn log(response: &Response<Body>, took: Duration) {
    let (status, duration_ms) = (response.status().as_u16(), took.as_secs_f64() * 1000.0);
    if response.status().is_server_error() {
        tracing::warn!(status, duration_ms, "request");
    } else {
        tracing::debug!(status, duration_ms, "request");
    }
}
