//! Which part answers a request.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use rpc::error::Reason;
use transcode::{Miss, Route, Transcoder};

use crate::Deps;
use crate::body::Strangers;
use crate::call::{Answering, Calls};
use crate::config::Config;
use crate::context::Context;
use crate::notify::{self, Notifies};
use crate::page::{self, Pages};
use crate::watch::{self, Watches};

/// Label of requests that no route takes.
pub(crate) const NO_ROUTE: &str = "none";

/// Template of the route that took a request, for whoever counts; in the extensions of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Label(pub(crate) String);

/// Everything that answers. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    calls: Calls,
    answering: Answering,
    pages: Pages,
    watches: Watches,
    notifies: Option<Notifies>,
}

impl App {
    pub(crate) fn new(
        config: &Arc<Config>,
        transcoder: Transcoder,
        deps: &Deps,
    ) -> Result<Self, idempotency::ConfigError> {
        let pages = Pages::new(&transcoder, deps.upstreams.contains_key(notify::PACKAGE));
        let strangers = Arc::new(Strangers::new(config));
        let calls = Calls::new(Arc::clone(config), transcoder, deps, Arc::clone(&strangers));
        Ok(Self(Arc::new(Inner {
            answering: calls.answering(&deps.kv)?,
            watches: Watches::new(Arc::clone(config), deps),
            notifies: Notifies::new(Arc::clone(config), deps, strangers),
            calls,
            pages,
        })))
    }

    pub(crate) fn openapi(&self) -> &[u8] {
        self.0.pages.openapi()
    }

    /// Waits until no watch is open; there are no new ones then.
    pub(crate) async fn watches_ended(&self) {
        self.0.watches.ended().await;
    }

    /// Answers a request whose head has been checked and whose [`Context`] is known.
    pub(crate) async fn answer(&self, request: Request<Body>, context: &Context) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let (label, mut response) = if let Some(route) = page::find(&path) {
            let response = match read_only(&head.method) {
                true => self.0.pages.get(route, &head, context),
                false => not_allowed(context, &[Method::GET, Method::HEAD]),
            };
            (route.label().to_owned(), response)
        } else if let Some(route) = watch::find(&path) {
            let response = if route.takes(&head.method) {
                self.0.watches.answer(route, head, body, context).await
            } else {
                not_allowed(context, &[route.method()])
            };
            (route.path().to_owned(), response)
        } else if let (Some(route), Some(notifies)) = (notify::find(&path), &self.0.notifies) {
            let response = match head.method {
                Method::POST => notifies.answer(route, head, body, context).await,
                _ => not_allowed(context, &[Method::POST]),
            };
            (route.path().to_owned(), response)
        } else {
            self.method(head, body, context).await
        };
        response.extensions_mut().insert(Label(label));
        response
    }

    /// Answers by a gRPC method.
    async fn method(&self, head: Parts, body: Body, context: &Context) -> (String, Response<Body>) {
        let Inner { calls, answering, .. } = &*self.0;
        let method = page_method(&head.method);
        let path = head.uri.path().to_owned();
        let missed = |response| (NO_ROUTE.to_owned(), response);
        let route: Route<'_> = match calls.route(&method, &path) {
            Ok(route) => route,
            Err(Miss::NotFound) => {
                return missed(context.refuse(Reason::RouteNotFound, "there is no such path"));
            }
            Err(Miss::MethodNotAllowed(methods)) => return missed(not_allowed(context, &methods)),
            Err(Miss::BadPath(bad)) => return missed(context.bad(&bad)),
        };
        let label = route.template().to_owned();
        (label, calls.answer(route, answering, head, body, context).await)
    }
}

/// HEAD is answered as GET would be, without the body.
pub(crate) fn page_method(method: &Method) -> Method {
    match method {
        &Method::HEAD => Method::GET,
        other => other.clone(),
    }
}

fn read_only(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn not_allowed(context: &Context, methods: &[Method]) -> Response<Body> {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    let mut response = context.refuse(Reason::MethodNotAllowed, format!("the path has {names}"));
    let value = HeaderValue::try_from(names).expect("names of methods can stand in a header");
    response.headers_mut().insert(header::ALLOW, value);
    response
}
