//! From a request to a gRPC call and back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use idempotency::{Scope, Store, http as idempotent};
use kv::Kv;
use prost_reflect::DynamicMessage;
use rpc::channel::Channel;
use rpc::error::Reason;
use telemetry::trace::{self, Traceparent};
use token::{Caller, Guard, Rule};
use tonic::client::Grpc;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};
use transcode::codec::DynamicCodec;
use transcode::{Miss, Route, Transcoder};

use crate::app::page_method;
use crate::body::Strangers;
use crate::config::Config;
use crate::context::Context;
use crate::{body, forward, is_public};

/// Header with the key of a request that must have one effect.
const KEY: &str = "idempotency-key";
/// Largest reply of a service, in bytes.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// A service that lets its deadline pass is given so long to say so itself.
const GRACE: Duration = Duration::from_millis(200);

/// Answers requests that have a key.
pub(crate) struct Answering(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>);

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

/// Calls methods. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    transcoder: Transcoder,
    upstreams: BTreeMap<String, Channel>,
    guard: Guard,
    strangers: Arc<Strangers>,
}

impl Calls {
    pub(crate) fn new(
        config: Arc<Config>,
        transcoder: Transcoder,
        deps: &crate::Deps,
        strangers: Arc<Strangers>,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            transcoder,
            upstreams: deps.upstreams.clone(),
            guard: deps.guard.clone(),
            strangers,
        }))
    }

    pub(crate) fn route(&self, method: &Method, path: &str) -> Result<Route<'_>, Miss> {
        self.0.transcoder.route(method, path)
    }

    /// Makes the service that calls methods for requests that have a key.
    ///
    /// # Errors
    /// The idempotency settings are out of range.
    pub(crate) fn answering(&self, kv: &Kv) -> Result<Answering, idempotency::ConfigError> {
        let calls = self.clone();
        let call = tower::service_fn(move |request: Request<Body>| {
            let calls = calls.clone();
            async move { Ok::<_, Infallible>(calls.once(request).await) }
        });
        let settings = idempotency::Config {
            // The body has been read and measured by then.
            max_body_bytes: self.0.config.max_body_bytes,
            ..self.0.config.idempotency.clone()
        };
        let store = Store::new(kv.clone(), settings)?;
        let service = idempotent::Layer::new(store, refuse)
            .layer(call)
            .map_response(|response: Response<_>| response.map(Body::new));
        Ok(Answering(BoxCloneSyncService::new(service)))
    }

    /// Answers a request whose method is known.
    pub(crate) async fn answer(
        &self,
        route: Route<'_>,
        answering: &Answering,
        mut head: Parts,
        body: Body,
        context: &Context,
    ) -> Response<Body> {
        let rule = Rule::of(route.method()).expect("routes without a rule are refused at the start");
        let admitted = self
            .0
            .guard
            .admit(rule, route.template(), &head.headers, &head.extensions);
        let caller = match admitted.await {
            Ok(Caller::Service { .. }) => {
                return context.refuse(Reason::TokenInvalid, "services call each other over gRPC");
            }
            Ok(caller) => caller,
            Err(refusal) => return context.failed(&Status::from(refusal)),
        };
        let bytes = match self.body(&caller, &head, body, context).await {
            Ok(bytes) => bytes,
            Err(refusal) => return refusal,
        };
        let Some(scope) = scope(&caller, &route, &head) else {
            return self.call(&route, &head, &bytes, &caller, None, context).await;
        };
        head.extensions.insert(scope);
        head.extensions.insert(caller);
        head.extensions.insert(context.clone());
        // It is called from a task of its own, which a client that goes does not end.
        head.extensions
            .insert(trace::current().unwrap_or_else(Traceparent::random));
        let request = Request::from_parts(head, Body::from(bytes));
        match answering.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn body(
        &self,
        caller: &Caller,
        head: &Parts,
        body: Body,
        context: &Context,
    ) -> Result<Bytes, Response<Body>> {
        let _place = match caller {
            Caller::Anonymous => Some(self.0.strangers.take(context)?),
            Caller::User(_) | Caller::Service { .. } => None,
        };
        body::read(head, body, &self.0.config, context).await
    }

    /// Calls the method of a request whose key has been taken.
    async fn once(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let context = head.extensions.get::<Context>().expect("put there by `answer`");
        let caller = head.extensions.get::<Caller>().expect("put there by `answer`");
        // It is in memory already.
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(_) => return context.refuse(Reason::MalformedBody, "the body broke off"),
        };
        let route = self
            .route(&page_method(&head.method), head.uri.path())
            .expect("the route has been found before");
        let key = head.extensions.get::<idempotency::Key>();
        let parent = head
            .extensions
            .get::<Traceparent>()
            .expect("put there by `answer`");
        let call = self.call(&route, &head, &bytes, caller, key, context);
        trace::scope(*parent, call).await
    }

    async fn call(
        &self,
        route: &Route<'_>,
        head: &Parts,
        body: &Bytes,
        caller: &Caller,
        key: Option<&idempotency::Key>,
        context: &Context,
    ) -> Response<Body> {
        let message = match route.request(head.uri.query(), Some(body)) {
            Ok(message) => message,
            Err(bad) => return context.bad(&bad),
        };
        let deadline = self.0.config.deadline;
        let request = forward::request(message, &head.headers, caller, key, context, deadline);
        let calling = self.unary(route, request);
        let reply = match tokio::time::timeout(deadline + GRACE, calling).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(status)) => {
                report(route, &status, context);
                return context.failed(&status);
            }
            Err(_) => {
                report(route, &Status::deadline_exceeded("no answer in time"), context);
                return context.refuse(Reason::DeadlineExceeded, "the service did not answer in time");
            }
        };
        match route.response(&reply) {
            Ok(json) => {
                let mut response = Response::new(Body::from(json));
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                tracing::error!(%error, method = route.method().full_name(), request_id = context.request_id(), "a reply cannot be written as JSON");
                context.refuse(Reason::Internal, Reason::Internal.text_en())
            }
        }
    }

    async fn unary(
        &self,
        route: &Route<'_>,
        request: tonic::Request<DynamicMessage>,
    ) -> Result<DynamicMessage, Status> {
        let service = route.method().parent_service();
        let channel = self
            .0
            .upstreams
            .get(service.package_name())
            .expect("packages without an address have no routes");
        let mut client = Grpc::new(channel.clone()).max_decoding_message_size(MAX_REPLY_BYTES);
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = DynamicCodec::new(route.method().output());
        let reply = client.unary(request, route.grpc_path().clone(), codec).await?;
        Ok(reply.into_inner())
    }
}

/// Says under whom the key of a request is kept; `None` if its answer is not kept.
///
/// Methods that anybody may call have nobody to keep it for, and answer with tokens, which do not belong into a cache.
fn scope(caller: &Caller, route: &Route<'_>, head: &Parts) -> Option<Scope> {
    let changes = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    let keyed = changes && head.headers.contains_key(KEY) && !is_public(route.access());
    match caller {
        Caller::User(user) if keyed => Some(Scope(user.user_id.to_string())),
        Caller::User(_) | Caller::Anonymous | Caller::Service { .. } => None,
    }
}

fn refuse(head: &Parts, reason: Reason, retry_after: Option<Duration>) -> Response<Body> {
    let context = head.extensions.get::<Context>().expect("put there by `answer`");
    context.refuse_for(reason, reason.text_en(), retry_after)
}

/// Logs what operators look for when a client reports a 5xx.
fn report(route: &Route<'_>, status: &Status, context: &Context) {
    let (method, request_id) = (route.method().full_name(), context.request_id());
    let code = rpc::error::code_name(status.code());
    let ours = matches!(
        status.code(),
        Code::Internal
            | Code::Unknown
            | Code::DataLoss
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unimplemented
    );
    if ours {
        tracing::warn!(
            method,
            request_id,
            code,
            error = status.message(),
            "a call failed"
        );
    } else {
        tracing::debug!(
            method,
            request_id,
            code,
            error = status.message(),
            "a call was refused"
        );
    }
}
