//! The HTTP side: programme and books.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::json;

use super::program::{Rule, check};
use super::{Shared, store};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_program", put(set_program).get(show_program))
        .route("/_books", get(books))
        .route("/_health", get(async || "ok"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

async fn set_program(Extract(shared): Extract<Arc<Shared>>, Json(rules): Json<Vec<Rule>>) -> Response {
    if let Err(problem) = check(&rules) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": problem }))).into_response();
    }
    *shared.program() = rules;
    StatusCode::NO_CONTENT.into_response()
}

async fn show_program(Extract(shared): Extract<Arc<Shared>>) -> Json<Vec<Rule>> {
    Json(shared.program().clone())
}

async fn books(Extract(shared): Extract<Arc<Shared>>) -> Response {
    match store::books(&shared.pool).await {
        Ok(books) => Json(books).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the books of the allocator cannot be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
