//! The API: checks the signature, runs the call, signs the answer.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::calls::Request;
use super::{State, auth};
use crate::pay::{Lie, Made, Operation, now, routes, shape};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
const TRANSFERS: &str = "/v3/fund-app/mch-transfer/transfer-bills";

pub(super) fn router(state: State) -> Router {
    let api = Router::new()
        .fallback(call)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state.clone());
    routes().with_state(state.core).fallback_service(api)
}

/// A call, by its method and path.
#[derive(Debug)]
pub(super) enum Call<'a> {
    Create,
    Query(&'a str),
    Close(&'a str),
    Refund,
    QueryRefund(&'a str),
    Transfer,
    QueryTransfer(&'a str),
    Bill,
    BillFile,
    Certificates,
}

impl<'a> Call<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        let order = path.strip_prefix("/v3/pay/transactions/out-trade-no/");
        let refund = path.strip_prefix("/v3/refund/domestic/refunds/");
        let transfer = path
            .strip_prefix(TRANSFERS)
            .and_then(|rest| rest.strip_prefix("/out-bill-no/"));
        Some(match (method.as_str(), path) {
            ("POST", "/v3/pay/transactions/native") => Self::Create,
            ("POST", "/v3/refund/domestic/refunds") => Self::Refund,
            ("POST", TRANSFERS) => Self::Transfer,
            ("GET", "/v3/bill/tradebill") => Self::Bill,
            ("GET", "/v3/billdownload/file") => Self::BillFile,
            ("GET", "/v3/certificates") => Self::Certificates,
            ("POST", _) => Self::Close(order?.strip_suffix("/close")?),
            ("GET", _) => match (order, refund, transfer) {
                (Some(number), ..) => Self::Query(number),
                (_, Some(number), _) => Self::QueryRefund(number),
                (.., Some(number)) => Self::QueryTransfer(number),
                (None, None, None) => return None,
            },
            _ => return None,
        })
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Query(_) => Operation::Query,
            Self::Close(_) => Operation::Close,
            Self::Refund => Operation::Refund,
            Self::QueryRefund(_) => Operation::QueryRefund,
            Self::Transfer => Operation::Transfer,
            Self::QueryTransfer(_) => Operation::QueryTransfer,
            Self::Bill => Operation::Bill,
            Self::BillFile => Operation::BillFile,
            Self::Certificates => Operation::Certificates,
        }
    }
}

async fn call(
    Extract(state): Extract<State>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(call) = Call::of(&method, uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let now = now();
    if !auth::is_the_merchants(&state.platform, &method, &uri, &headers, &body, now.timestamp()) {
        // Nothing is signed for somebody who may be anybody.
        return unsigned(refusal(401, "SIGN_ERROR"));
    }
    let by_public_key = state.platform.hear(headers.get("wechatpay-serial"));
    let rule = state.core.take(call.operation());
    let is_file = matches!(call, Call::BillFile);
    let request = Request {
        state: &state,
        rule: &rule,
        query: uri.query().unwrap_or_default(),
        body: &body,
        now,
    };
    shape(
        &rule,
        |lie| match request.run(&call, lie) {
            Ok(made) => made,
            Err((status, code)) => refusal(status, code),
        },
        refusal,
        |made, signed| match signed {
            // A file is what its hash says.
            Some(lie) if !is_file => sign(&state, by_public_key, lie, made),
            Some(_) | None => unsigned(made),
        },
    )
    .await
}

fn unsigned(made: Made) -> Response {
    (
        StatusCode::from_u16(made.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        made.body,
    )
        .into_response()
}

fn sign(state: &State, by_public_key: bool, lie: Lie, made: Made) -> Response {
    let (at, nonce) = (now().timestamp(), crate::random_text());
    let mut message = format!("{at}\n{nonce}\n").into_bytes();
    message.extend_from_slice(&made.body);
    message.push(b'\n');
    let signed = state.platform.sign(by_public_key, lie == Lie::WrongKey, &message);
    Response::builder()
        .status(made.status)
        .header("content-type", "application/json")
        .header("wechatpay-serial", signed.serial)
        .header("wechatpay-timestamp", at)
        .header("wechatpay-nonce", nonce)
        .header("wechatpay-signature", signed.signature)
        .body(Body::from(made.body))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn refusal(status: u16, code: &str) -> Made {
    made(
        status,
        &json!({ "code": code, "message": format!("{code} of the double") }),
    )
}

pub(super) fn made(status: u16, body: &Value) -> Made {
    Made {
        status,
        body: body.to_string().into_bytes(),
    }
}
