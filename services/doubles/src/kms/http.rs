//! The HTTP side of the double.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::keys::{Keys, NOT_FOUND, random};
use super::{Behaviour, Call, State, check};
use crate::tc3;

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Largest plaintext of `Encrypt`, in bytes.
const MAX_PLAIN_BYTES: usize = 4 * 1024;
/// Longest encryption context, in characters.
const MAX_CONTEXT_CHARS: usize = 1_024;

const INVALID: &str = "InvalidParameterValue";

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", post(call))
        .route("/_program", put(set_program).get(show_program))
        .route("/_books", get(books))
        .route("/_keys", post(create_key))
        .route("/_keys/{id}/{verb}", post(change_key))
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

async fn books(Extract(state): Extract<Arc<State>>) -> Json<Vec<Call>> {
    Json(state.lock().calls.iter().cloned().collect())
}

async fn create_key(Extract(state): Extract<Arc<State>>) -> Json<Value> {
    Json(json!({ "key_id": state.change(Keys::create) }))
}

async fn change_key(
    Extract(state): Extract<Arc<State>>,
    Path((id, verb)): Path<(String, String)>,
) -> StatusCode {
    let found = state.change(|keys| match verb.as_str() {
        "rotate" => keys.rotate(&id),
        "disable" => keys.set_enabled(&id, false),
        "enable" => keys.set_enabled(&id, true),
        _ => false,
    });
    if found {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn call(Extract(state): Extract<Arc<State>>, headers: HeaderMap, body: Bytes) -> Response {
    if headers
        .get("x-tc-version")
        .is_none_or(|version| version != "2019-01-18")
    {
        return error("InvalidParameter");
    }
    if let Err(code) = tc3::check("kms", &state.account, &headers, &body) {
        return error(code);
    }
    if !tc3::covers(&headers, "x-tc-action") {
        return error("AuthFailure.InvalidAuthorization");
    }
    let action = headers.get("x-tc-action").and_then(|value| value.to_str().ok());
    let action = action.unwrap_or_default().to_owned();
    let Ok(Value::Object(body)) = serde_json::from_slice(&body) else {
        return error("InvalidParameter");
    };
    let behaviour = state.lock().program.pop_front().unwrap_or(Behaviour::Answer);
    match behaviour {
        Behaviour::Answer => perform(&state, &action, &body),
        Behaviour::Delay(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            perform(&state, &action, &body)
        }
        Behaviour::Status(code) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Behaviour::Code(code) => refuse(&state, &action, &body, &code),
        Behaviour::WrongSignature => refuse(&state, &action, &body, tc3::WRONG),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Huge => " ".repeat(1024 * 1024).into_response(),
        Behaviour::Garbage => "<html>502 Bad Gateway</html>".into_response(),
        Behaviour::Cut => {
            let cut = stream::iter([
                Ok::<_, std::io::Error>(Bytes::from_static(b"{\"Response\":")),
                Err(std::io::Error::other("cut on purpose")),
            ]);
            Body::from_stream(cut.boxed()).into_response()
        }
        Behaviour::Redirect(url) => Redirect::temporary(&url).into_response(),
        Behaviour::ShortKey => {
            let done = act(&state.lock().keys, &action, &body);
            done.map_or_else(error, |mut fields| {
                fields["Plaintext"] = STANDARD.encode([0; 16]).into();
                answer(fields)
            })
        }
    }
}

fn perform(state: &State, action: &str, body: &Map<String, Value>) -> Response {
    // In a statement of its own: booking locks as well.
    let done = act(&state.lock().keys, action, body);
    match done {
        Ok(fields) => {
            book(state, action, body, "Ok");
            answer(fields)
        }
        Err(code) => refuse(state, action, body, code),
    }
}

fn act(keys: &Keys, action: &str, body: &Map<String, Value>) -> Result<Value, &'static str> {
    match action {
        "GenerateDataKey" => {
            let key_id = text(body, "KeyId").ok_or(INVALID)?;
            let size = match (
                body.get("NumberOfBytes").and_then(Value::as_u64),
                text(body, "KeySpec"),
            ) {
                (Some(size @ 1..=1024), _) => usize::try_from(size).unwrap_or(0),
                (None, Some("AES_256")) => 32,
                (None, Some("AES_128")) => 16,
                _ => return Err(INVALID),
            };
            let plain = &random::<1024>()[..size];
            let blob = keys.encrypt(key_id, plain, context(body, "EncryptionContext")?)?;
            Ok(json!({"KeyId": key_id, "Plaintext": STANDARD.encode(plain), "CiphertextBlob": blob}))
        }
        "Encrypt" => {
            let key_id = text(body, "KeyId").ok_or(INVALID)?;
            let plain = text(body, "Plaintext")
                .and_then(|text| STANDARD.decode(text).ok())
                .filter(|plain| !plain.is_empty() && plain.len() <= MAX_PLAIN_BYTES)
                .ok_or("InvalidParameterValue.InvalidPlaintext")?;
            let blob = keys.encrypt(key_id, &plain, context(body, "EncryptionContext")?)?;
            Ok(json!({"KeyId": key_id, "CiphertextBlob": blob}))
        }
        "Decrypt" => {
            let blob = text(body, "CiphertextBlob").ok_or(INVALID)?;
            let opened = keys.decrypt(blob, context(body, "EncryptionContext")?)?;
            Ok(json!({"KeyId": opened.key_id, "Plaintext": STANDARD.encode(opened.plain)}))
        }
        "ReEncrypt" => re_encrypt(keys, body),
        "DescribeKey" => {
            let key_id = text(body, "KeyId").ok_or(INVALID)?;
            let state = if keys.state(key_id).ok_or(NOT_FOUND)? {
                "Enabled"
            } else {
                "Disabled"
            };
            Ok(json!({"KeyMetadata": {
                "KeyId": key_id, "KeyState": state, "KeyUsage": "ENCRYPT_DECRYPT", "Type": 2, "Origin": "TENCENT_KMS",
            }}))
        }
        _ => Err("InvalidAction"),
    }
}

/// Under the same key and context, an unrotated key changes nothing, as the document says.
fn re_encrypt(keys: &Keys, body: &Map<String, Value>) -> Result<Value, &'static str> {
    let blob = text(body, "CiphertextBlob").ok_or(INVALID)?;
    let source = context(body, "SourceEncryptionContext")?;
    let destination = context(body, "DestinationEncryptionContext")?;
    let opened = keys.decrypt(blob, source)?;
    let key_id = text(body, "DestinationKeyId").unwrap_or(&opened.key_id);
    let same = opened.fresh && key_id == opened.key_id && source == destination;
    let made = if same {
        blob.to_owned()
    } else {
        keys.encrypt(key_id, &opened.plain, destination)?
    };
    Ok(json!({
        "CiphertextBlob": made, "KeyId": key_id, "SourceKeyId": opened.key_id, "ReEncrypted": !same,
    }))
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    body.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Reads an encryption context: absent, or a JSON object of texts.
fn context<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, &'static str> {
    let Some(context) = text(body, name) else {
        return Ok("");
    };
    let pairs: Map<String, Value> = serde_json::from_str(context).map_err(|_| INVALID)?;
    let fits = context.chars().count() <= MAX_CONTEXT_CHARS && pairs.values().all(Value::is_string);
    if fits { Ok(context) } else { Err(INVALID) }
}

fn book(state: &State, action: &str, body: &Map<String, Value>, code: &str) {
    let field = |names: [&str; 2]| names.iter().find_map(|name| text(body, name)).map(str::to_owned);
    state.book(Call {
        action: action.to_owned(),
        key_id: field(["KeyId", "DestinationKeyId"]),
        context: field(["EncryptionContext", "SourceEncryptionContext"]),
        code: code.to_owned(),
    });
}

fn refuse(state: &State, action: &str, body: &Map<String, Value>, code: &str) -> Response {
    book(state, action, body, code);
    error(code)
}

fn answer(mut fields: Value) -> Response {
    fields["RequestId"] = crate::random_text().into();
    Json(json!({ "Response": fields })).into_response()
}

fn error(code: &str) -> Response {
    answer(json!({"Error": {"Code": code, "Message": code}}))
}
