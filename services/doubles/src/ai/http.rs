//! The HTTP side of the double.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::books::{Act, Books, State};
use super::program::{self, Rule};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/v1/generate", post(generate))
        .route("/_program", put(set_program).get(show_program))
        .route("/_books", get(books))
        .route("/_health", get(async || "ok"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    // Not a graceful shutdown: it would wait for requests that hang on purpose.
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = shutdown.cancelled() => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
struct Generate {
    prompt: String,
}

async fn generate(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    body: Result<Json<Generate>, JsonRejection>,
) -> Response {
    let prompt = match body {
        Ok(Json(request)) => request.prompt,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    match state.receive(text("idempotency-key"), text("x-request-id"), &prompt) {
        Act::Answer { body, at } => after(at, Json(body).into_response()).await,
        Act::Cut { body, at } => after(at, cut(&body)).await,
        Act::Status {
            code,
            retry_after,
            at,
        } => after(at, status(code, retry_after)).await,
        Act::Garbage { at } => after(at, "<html>upstream says hello</html>".into_response()).await,
        Act::Hang => std::future::pending().await,
        Act::KeyReused => error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this idempotency key came with another prompt before",
        ),
    }
}

async fn after(at: Instant, response: Response) -> Response {
    sleep_until(at).await;
    response
}

fn status(code: u16, retry_after: Option<u64>) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error(code, "as programmed");
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn error(code: StatusCode, message: &str) -> Response {
    (code, Json(json!({ "error": { "message": message } }))).into_response()
}

/// Announces the whole answer, sends at most half of it, and breaks the connection.
fn cut(body: &Value) -> Response {
    let whole = body.to_string().into_bytes();
    let half = whole[..whole.len() / 2].to_vec();
    let broken = stream::iter([
        Ok(half),
        Err(std::io::Error::new(
            std::io::ErrorKind::ConnectionReset,
            "as programmed",
        )),
    ]);
    (
        [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::CONTENT_LENGTH, whole.len().to_string()),
        ],
        Body::from_stream(broken.boxed()),
    )
        .into_response()
}

async fn set_program(
    Extract(state): Extract<Arc<State>>,
    rules: Result<Json<Vec<Rule>>, JsonRejection>,
) -> Response {
    let rules = match rules {
        Ok(Json(rules)) => rules,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    if let Err(problem) = program::check(&rules) {
        return error(StatusCode::BAD_REQUEST, &problem);
    }
    state.set_program(rules);
    StatusCode::NO_CONTENT.into_response()
}

async fn show_program(Extract(state): Extract<Arc<State>>) -> Json<Vec<Rule>> {
    Json(state.program())
}

async fn books(Extract(state): Extract<Arc<State>>) -> Json<Books> {
    Json(state.books())
}
