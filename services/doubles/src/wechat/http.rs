//! The HTTP side of the double.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Person, State, check};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/sns/jscode2session", get(exchange))
        .route("/_codes", post(make_code))
        .route("/_program", put(set_program).get(show_program))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn make_code(Extract(state): Extract<Arc<State>>, Json(person): Json<Person>) -> Response {
    match state.code(person) {
        Some(code) => Json(json!({ "code": code })).into_response(),
        None => StatusCode::INSUFFICIENT_STORAGE.into_response(),
    }
}

async fn set_program(Extract(state): Extract<Arc<State>>, Json(next): Json<Vec<Behaviour>>) -> Response {
    if let Err(problem) = check(&next) {
        return (StatusCode::BAD_REQUEST, problem).into_response();
    }
    state.lock().program = next.into();
    StatusCode::NO_CONTENT.into_response()
}

async fn show_program(Extract(state): Extract<Arc<State>>) -> Json<Vec<Behaviour>> {
    Json(state.lock().program.iter().cloned().collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exchange {
    appid: String,
    secret: String,
    js_code: String,
    grant_type: String,
}

async fn exchange(Extract(state): Extract<Arc<State>>, Query(query): Query<Exchange>) -> Response {
    let behaviour = state.lock().program.pop_front().unwrap_or(Behaviour::Answer);
    match behaviour {
        Behaviour::Answer => Json(answer(&state, &query)).into_response(),
        Behaviour::Delay(millis) => {
            let answer = answer(&state, &query);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Json(answer).into_response()
        }
        Behaviour::Redirect(url) => Redirect::temporary(&url).into_response(),
        Behaviour::Huge => " ".repeat(1024 * 1024).into_response(),
        Behaviour::Code(code) => Json(error(code)).into_response(),
        Behaviour::Status(code) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Behaviour::Garbage => "<html>".into_response(),
        Behaviour::Hang => {
            answer(&state, &query);
            std::future::pending().await
        }
    }
}

fn error(code: i64) -> Value {
    json!({"errcode": code, "errmsg": "an error of the double"})
}

/// Answers as the document says: 40013 app id, 40125 secret, 40002 grant type, 40029 unknown code, 40163 used code.
fn answer(state: &State, query: &Exchange) -> Value {
    if query.appid != state.app.app_id {
        return error(40_013);
    }
    if query.secret != state.app.secret {
        return error(40_125);
    }
    if query.grant_type != "authorization_code" {
        return error(40_002);
    }
    let mut inner = state.lock();
    let Some(person) = inner.codes.get_mut(&query.js_code) else {
        return error(40_029);
    };
    if std::mem::replace(&mut person.used, true) {
        return error(40_163);
    }
    let mut answer = Map::new();
    answer.insert("openid".to_owned(), person.openid.clone().into());
    answer.insert("session_key".to_owned(), crate::random_text().into());
    if let Some(unionid) = &person.unionid {
        answer.insert("unionid".to_owned(), unionid.clone().into());
    }
    answer.into()
}
