//! The HTTP side of the double.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Message, State, check};
use crate::tc3;

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", post(call))
        .route("/_program", put(set_program).get(show_program))
        .route("/_books", get(books))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    // Not a graceful shutdown: it would wait for requests that hang on purpose.
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = shutdown.cancelled() => Ok(()),
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

async fn books(Extract(state): Extract<Arc<State>>) -> Json<Vec<Message>> {
    Json(state.lock().messages.iter().cloned().collect())
}

async fn call(Extract(state): Extract<Arc<State>>, headers: HeaderMap, body: Bytes) -> Response {
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    if !is("x-tc-action", "SendSms") || !is("x-tc-version", "2021-01-11") {
        return error("InvalidAction");
    }
    if let Err(code) = tc3::check("sms", &state.account, &headers, &body) {
        return error(code);
    }
    let Some(message) = message(&body) else {
        return error("InvalidParameter");
    };
    let behaviour = state.lock().program.pop_front().unwrap_or(Behaviour::Send);
    match behaviour {
        Behaviour::Send => {
            state.book(message);
            status("Ok")
        }
        Behaviour::Delay(millis) => {
            state.book(message);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            status("Ok")
        }
        Behaviour::Redirect(url) => Redirect::temporary(&url).into_response(),
        Behaviour::Huge => " ".repeat(1024 * 1024).into_response(),
        Behaviour::Status(code) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Behaviour::Code(code) => status(&code),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Cut => {
            state.book(message);
            let cut = stream::iter([
                Ok::<_, std::io::Error>(Bytes::from_static(b"{\"Response\":")),
                Err(std::io::Error::other("cut on purpose")),
            ]);
            Body::from_stream(cut.boxed()).into_response()
        }
    }
}

fn status(code: &str) -> Response {
    Json(json!({"Response": {"SendStatusSet": [{"Code": code, "Message": code, "Fee": 1}], "RequestId": crate::random_text()}}))
        .into_response()
}

fn error(code: &str) -> Response {
    Json(json!({"Response": {"Error": {"Code": code, "Message": code}, "RequestId": crate::random_text()}}))
        .into_response()
}

fn message(body: &[u8]) -> Option<Message> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let filled = ["SmsSdkAppId", "SignName", "TemplateId"];
    if filled
        .iter()
        .any(|name| body[name].as_str().is_none_or(str::is_empty))
    {
        return None;
    }
    Some(Message {
        phone: text(&body["PhoneNumberSet"][0])?,
        code: text(&body["TemplateParamSet"][0])?,
        template: text(&body["TemplateId"])?,
    })
}
