//! Stands where providers send notifications: keeps them, and passes them on to the gateway as they came.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::stream::{self, StreamExt as _};
use test_support::eventually;
use tokio::net::TcpListener;

use e2e::LONG;

/// Replays under way at once. The gateway turns away those who are too many.
const AT_ONCE: usize = 8;

/// A notification as it came.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    channel: String,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Debug, Default)]
struct Kept {
    told: Vec<Told>,
    /// Nothing is passed on any more.
    is_shut: bool,
}

/// The recorder. It listens until the test ends.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    gateway: String,
    client: reqwest::Client,
    kept: Arc<Mutex<Kept>>,
}

impl Recorder {
    /// Starts in front of a gateway; returns the URL for the providers as well.
    pub(crate) async fn start(gateway: &str) -> (Self, String) {
        let recorder = Self {
            gateway: format!("{gateway}/api/v1/payments/notify"),
            client: reqwest::Client::new(),
            kept: Arc::default(),
        };
        let router = Router::new()
            .route("/{channel}", post(take))
            .with_state(recorder.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (recorder, format!("http://{address}"))
    }

    /// Takes nothing any more, so that only what is replayed comes.
    pub(crate) fn shut(&self) {
        self.lock().is_shut = true;
    }

    /// Everything that came, in the order in which it did.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.lock().told.clone()
    }

    /// Delivers all of them, in this order; each until the service has answered, whatever it says.
    pub(crate) async fn replay(&self, all: Vec<Told>) {
        let deliveries = all.into_iter().map(|told| async move {
            eventually(LONG, || async {
                let answer = self.pass_on(&told).await;
                answer.is_some_and(|(status, _)| status < 500 && status != 429)
            })
            .await;
        });
        stream::iter(deliveries).buffer_unordered(AT_ONCE).count().await;
    }

    async fn pass_on(&self, told: &Told) -> Option<(u16, Bytes)> {
        let request = self.client.post(format!("{}/{}", self.gateway, told.channel));
        let request = request.headers(told.headers.clone()).body(told.body.clone());
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.bytes().await.ok()?))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    State(recorder): State<Recorder>,
    Path(channel): Path<String>,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    for name in ["host", "content-length", "transfer-encoding", "connection"] {
        headers.remove(name);
    }
    let told = Told {
        channel,
        headers,
        body,
    };
    {
        let mut kept = recorder.lock();
        if kept.is_shut {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        kept.told.push(told.clone());
    }
    match recorder.pass_on(&told).await {
        Some((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, body).into_response()
        }
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}
