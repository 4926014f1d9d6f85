//! The HTTP listener for machines that watch a process: metrics, liveness, readiness, and what else it is given.
//!
//! It has a port of its own, so that a full service can still say so, and it goes on until the process ends, so that a
//! draining process says that it is not ready any more. It changes nothing and knows no secrets; still it is not for the
//! public.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::{Value, json};
use telemetry::metrics::{CONTENT_TYPE, Metrics};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::grpc::Listener;
use crate::health::Readiness;

/// Requests answered at once, besides those for liveness and readiness; more are answered 503. A scraper sends one.
const MAX_CONCURRENT: usize = 16;
/// An answer that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the samples of histograms are summed up, whether or not anybody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a process tells machines that watch it: `GET /metrics`, `/livez`, `/readyz`, and the routes added to it.
#[derive(Debug)]
pub struct Admin {
    metrics: Metrics,
    services: Vec<(&'static str, Readiness)>,
    paths: Vec<String>,
    routes: Router,
}

impl Admin {
    /// Makes one that shows these metrics.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let shown = metrics.clone();
        let this = Self {
            metrics,
            services: Vec::new(),
            paths: vec!["/livez".to_owned(), "/readyz".to_owned()],
            routes: Router::new(),
        };
        this.route(
            "/metrics",
            get(|| async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], shown.render()) }),
        )
    }

    /// Adds a service; the process is ready when all its services are.
    #[must_use]
    pub fn service(mut self, name: &'static str, readiness: Readiness) -> Self {
        self.services.push((name, readiness));
        self
    }

    /// Adds a route.
    ///
    /// # Panics
    /// If the path is not one, or is taken.
    #[must_use]
    pub fn route(mut self, path: &str, method: MethodRouter) -> Self {
        self.routes = self.routes.route(path, method);
        self.paths.push(path.to_owned());
        self
    }

    /// Adds a route that answers GET with JSON; with 503 and the reason where there is none, or after 5 s.
    ///
    /// # Panics
    /// If the path is not one, or is taken.
    #[must_use]
    pub fn json<F, A>(self, path: &str, answer: F) -> Self
    where
        F: Fn() -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Value, String>> + Send,
    {
        let handler = || async move {
            let answered = tokio::time::timeout(PATIENCE, answer());
            match answered
                .await
                .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            {
                Ok(value) => Json(value).into_response(),
                Err(reason) => {
                    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": reason }))).into_response()
                }
            }
        };
        self.route(path, get(handler))
    }

    /// Serves on `listener` until the [`Running`] is dropped.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn start(self, listener: Listener) -> io::Result<Running> {
        let addr = listener.local_addr();
        let listener = listener.into_tokio()?.tap_io(|connection| {
            // Only slower without it.
            let _ = connection.set_nodelay(true);
        });
        let metrics = self.metrics.clone();
        let routes = self.into_routes();
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = axum::serve(listener, routes) => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "nobody can watch this process any more: its HTTP listener failed");
                    }
                }
                () = keep_up(&metrics) => {}
            }
        });
        tracing::info!(listener = "admin", %addr, "listening");
        Ok(Running { addr, task })
    }

    fn into_routes(self) -> Router {
        let places = Arc::new(Semaphore::new(MAX_CONCURRENT));
        let services: Arc<[(&'static str, Readiness)]> = self.services.into();
        let known = format!("there are: {}\n", self.paths.join(" "));
        self.routes
            .layer(middleware::from_fn_with_state(places, bounded))
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(|| async move { readiness(&services) }))
            .fallback(|| async move { (StatusCode::NOT_FOUND, known) })
    }
}

/// Names what is not ready.
fn readiness(services: &[(&'static str, Readiness)]) -> Response {
    let waiting: Vec<&str> = services
        .iter()
        .filter(|(_, readiness)| !readiness.is_ready())
        .map(|(name, _)| *name)
        .collect();
    if waiting.is_empty() {
        return "ready\n".into_response();
    }
    let text = format!("not ready: {}\n", waiting.join(" "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn bounded(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n").into_response(),
    }
}

async fn keep_up(metrics: &Metrics) {
    let mut tick = tokio::time::interval(UPKEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        metrics.upkeep();
    }
}

/// A listener that answers. Dropping it ends it at once.
#[derive(Debug)]
#[must_use = "dropping it ends the listener"]
pub struct Running {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// Returns the address with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
