//! The routes beside the API.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::json;

use super::books::{Books, Problem, Totals};
use super::program::{Rule, check};
use super::rows::{RefundState, TransferState};
use super::{Core, Delivery, now, page};

pub(crate) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/_program", put(set_program).get(show_program))
        .route("/_books", get(books))
        .route("/_totals", get(totals))
        .route("/_orders/{number}", get(order))
        .route("/_orders/{number}/scan", post(scan))
        .route("/_orders/{number}/pay", post(pay))
        .route("/_refunds/{number}/end", post(end_refund))
        .route("/_transfers/{number}/end", post(end_transfer))
        .route("/_deliveries", get(deliveries))
        .route("/", get(open_orders))
        .route("/pay/{code}", get(show_page).post(pay_on_page))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Mismatch | Self::Paid | Self::Closed | Self::Amount | Self::NotEnough | Self::State => {
                StatusCode::CONFLICT
            }
        };
        (status, Json(json!({ "error": format!("{self:?}") }))).into_response()
    }
}

async fn set_program(Extract(core): Extract<Arc<Core>>, Json(rules): Json<Vec<Rule>>) -> Response {
    if let Err(problem) = check(&rules) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": problem }))).into_response();
    }
    *core.program() = rules;
    StatusCode::NO_CONTENT.into_response()
}

async fn show_program(Extract(core): Extract<Arc<Core>>) -> Json<Vec<Rule>> {
    Json(core.program().clone())
}

async fn books(Extract(core): Extract<Arc<Core>>) -> Json<Books> {
    Json(core.books().clone())
}

async fn totals(Extract(core): Extract<Arc<Core>>) -> Json<Totals> {
    Json(core.books().totals())
}

async fn order(Extract(core): Extract<Arc<Core>>, Path(number): Path<String>) -> Response {
    let now = now();
    let mut books = core.books();
    match books.order(&number, now).cloned() {
        Ok(order) => {
            let refunds: Vec<_> = books
                .refunds
                .values()
                .filter(|refund| refund.order == number)
                .collect();
            Json(json!({ "order": order, "refunds": refunds })).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn scan(Extract(core): Extract<Arc<Core>>, Path(number): Path<String>) -> Result<StatusCode, Problem> {
    let now = now();
    core.books().order(&number, now)?.scanned = true;
    Ok(StatusCode::NO_CONTENT)
}

async fn pay(Extract(core): Extract<Arc<Core>>, Path(number): Path<String>) -> Result<Response, Problem> {
    core.pay(&number).map(|order| Json(order).into_response())
}

async fn end_refund(
    Extract(core): Extract<Arc<Core>>,
    Path(number): Path<String>,
    Json(state): Json<RefundState>,
) -> Result<Response, Problem> {
    core.end_refund(&number, state)
        .map(|refund| Json(refund).into_response())
}

async fn end_transfer(
    Extract(core): Extract<Arc<Core>>,
    Path(number): Path<String>,
    Json(state): Json<TransferState>,
) -> Result<Response, Problem> {
    core.end_transfer(&number, state)
        .map(|transfer| Json(transfer).into_response())
}

async fn deliveries(Extract(core): Extract<Arc<Core>>) -> Json<Vec<Delivery>> {
    Json(core.sent())
}

async fn open_orders(Extract(core): Extract<Arc<Core>>) -> Html<String> {
    Html(page::list(&core.books(), now()))
}

async fn show_page(
    Extract(core): Extract<Arc<Core>>,
    Path(code): Path<String>,
) -> Result<Html<String>, Problem> {
    let now = now();
    let mut books = core.books();
    let number = books.number_of(&code).ok_or(Problem::NotFound)?;
    let order = books.order(&number, now)?;
    order.scanned = true;
    Ok(Html(page::order(order)))
}

async fn pay_on_page(
    Extract(core): Extract<Arc<Core>>,
    Path(code): Path<String>,
) -> Result<Redirect, Problem> {
    let number = core.books().number_of(&code).ok_or(Problem::NotFound)?;
    // Whatever became of it, the page shows where the order stands.
    let _ = core.pay(&number);
    Ok(Redirect::to(&format!("/pay/{code}")))
}
