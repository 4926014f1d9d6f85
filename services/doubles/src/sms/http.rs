//! The HTTP side of the double.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Message, State};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Furthest that a client's clock may be off, in seconds; as the provider's.
const MAX_SKEW_SECONDS: u64 = 300;

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", post(call))
        .route("/_program", put(set_program))
        .route("/_books", get(books))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    // Not a graceful shutdown: it would wait for requests that hang on purpose.
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn set_program(Extract(state): Extract<Arc<State>>, Json(next): Json<Vec<Behaviour>>) -> StatusCode {
    state.lock().program = next.into();
    StatusCode::NO_CONTENT
}

async fn books(Extract(state): Extract<Arc<State>>) -> Json<Vec<Message>> {
    Json(state.lock().messages.iter().cloned().collect())
}

async fn call(Extract(state): Extract<Arc<State>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(code) = check(&state, &headers, &body) {
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

/// Checks action, time and signature as the document says; the error is the API's code.
fn check(state: &State, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    if (text("x-tc-action"), text("x-tc-version")) != ("SendSms", "2021-01-11") {
        return Err("InvalidAction");
    }
    let at: u64 = text("x-tc-timestamp")
        .parse()
        .map_err(|_| "AuthFailure.InvalidAuthorization")?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if now.abs_diff(at) > MAX_SKEW_SECONDS {
        return Err("AuthFailure.SignatureExpire");
    }
    let malformed = "AuthFailure.InvalidAuthorization";
    let fields = text("authorization")
        .strip_prefix("TC3-HMAC-SHA256 ")
        .ok_or(malformed)?;
    let field = |name: &str| {
        fields
            .split(", ")
            .find_map(|part| part.strip_prefix(name))
            .ok_or(malformed)
    };
    let credential = field("Credential=")?;
    let names = field("SignedHeaders=")?;
    let (id, scope) = credential.split_once('/').ok_or(malformed)?;
    if id != state.account.secret_id {
        return Err("AuthFailure.SecretIdNotFound");
    }
    let date = scope.strip_suffix("/sms/tc3_request").ok_or(malformed)?;
    let mut canonical = String::from("POST\n/\n\n");
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", text(name).trim().to_lowercase()));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(digest(&SHA256, body).as_ref())));
    let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let mut key = format!("TC3{}", state.account.secret_key).into_bytes();
    for part in [date, "sms", "tc3_request"] {
        key = mac(&key, part);
    }
    let expected = hex(&mac(&key, &format!("TC3-HMAC-SHA256\n{at}\n{scope}\n{hashed}")));
    if field("Signature=")? == expected {
        Ok(())
    } else {
        Err("AuthFailure.SignatureFailure")
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
