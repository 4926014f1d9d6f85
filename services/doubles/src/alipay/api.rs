//! The gateway: checks the signature, runs the call, signs the answer.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::calls::Request;
use super::content::read_time;
use super::platform::sorted;
use super::{State, bill};
use crate::pay::{Lie, Made, Operation, now, routes, shape};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Furthest that a merchant's clock may be off, in seconds.
const MAX_SKEW_SECONDS: u64 = 600;

pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/gateway.do", post(call))
        .route("/bill/{day}", get(bill_file))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state.clone())
        .merge(routes().with_state(state.core))
}

fn operation(method: &str) -> Option<Operation> {
    Some(match method {
        "alipay.trade.precreate" => Operation::Create,
        "alipay.trade.query" => Operation::Query,
        "alipay.trade.close" => Operation::Close,
        "alipay.trade.refund" => Operation::Refund,
        "alipay.trade.fastpay.refund.query" => Operation::QueryRefund,
        "alipay.fund.trans.uni.transfer" => Operation::Transfer,
        "alipay.fund.trans.common.query" => Operation::QueryTransfer,
        "alipay.data.dataservice.bill.downloadurl.query" => Operation::Bill,
        _ => return None,
    })
}

/// Why the gateway does not pass a request on.
fn problem(state: &State, parameters: &BTreeMap<String, String>, now: DateTime<Utc>) -> Option<&'static str> {
    let get = |name: &str| parameters.get(name).map_or("", String::as_str);
    let (merchant, platform) = (&state.platform.merchant, &state.platform);
    if get("app_id") != merchant.app_id {
        return Some("isv.invalid-app-id");
    }
    let usual = [
        ("format", "JSON"),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("version", "1.0"),
    ];
    if usual.iter().any(|(name, value)| get(name) != *value) {
        return Some("isv.missing-parameter");
    }
    let fresh = |at: DateTime<Utc>| at.timestamp().abs_diff(now.timestamp()) <= MAX_SKEW_SECONDS;
    if !read_time(get("timestamp")).is_some_and(fresh) {
        return Some("isv.invalid-timestamp");
    }
    let certificates = (get("app_cert_sn"), get("alipay_root_cert_sn"));
    if certificates != ("", "") && certificates != (platform.app_sn.as_str(), platform.root_sn.as_str()) {
        return Some("isv.invalid-cert");
    }
    if !platform.is_the_merchants(&sorted(parameters, &["sign"]), get("sign")) {
        return Some("isv.invalid-signature");
    }
    None
}

async fn call(Extract(state): Extract<State>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let query = query.unwrap_or_default();
    let parameters: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .chain(form_urlencoded::parse(&body).into_owned())
        .collect();
    let now = now();
    let get = |name: &str| parameters.get(name).map_or("", String::as_str);
    let method = get("method").to_owned();
    let by_certificate = !get("app_cert_sn").is_empty();
    let refused = |sub_code: &str| {
        // Nothing is signed for somebody who may be anybody.
        let answer = refusal("40002", sub_code);
        format!(r#"{{"error_response":{}}}"#, text(&answer)).into_response()
    };
    if let Some(sub_code) = problem(&state, &parameters, now) {
        return refused(sub_code);
    }
    let Some(operation) = operation(&method) else {
        return refused("isv.invalid-method");
    };
    let content: Value = serde_json::from_str(get("biz_content")).unwrap_or_default();
    let rule = state.core.take(operation);
    let request = Request {
        state: &state,
        rule: &rule,
        content: &content,
        notify_url: get("notify_url"),
        now,
    };
    shape(
        &rule,
        |lie| match request.run(operation, lie) {
            Ok(mut answer) => {
                answer["code"] = "10000".into();
                answer["msg"] = "Success".into();
                made(&answer)
            }
            Err(sub_code) => refusal("40004", sub_code),
        },
        |_, code| {
            let is_code = code.bytes().all(|byte| byte.is_ascii_digit());
            if is_code {
                refusal(code, "")
            } else {
                refusal("40004", code)
            }
        },
        |made, lie| envelope(&state, &method, by_certificate, &made, lie),
    )
    .await
}

/// Wraps an answer and signs its bytes.
fn envelope(state: &State, method: &str, by_certificate: bool, made: &Made, lie: Option<Lie>) -> Response {
    let (name, answer) = (method.replace('.', "_"), text(made));
    let mut body = format!(r#"{{"{name}_response":{answer}"#);
    if by_certificate {
        body.push_str(&format!(r#","alipay_cert_sn":"{}""#, state.platform.alipay_sn));
    }
    if let Some(lie) = lie {
        body.push_str(&format!(r#","sign":"{}""#, state.platform.sign(&answer, lie)));
    }
    body.push('}');
    ([("content-type", "text/html;charset=utf-8")], body).into_response()
}

fn text(made: &Made) -> String {
    String::from_utf8_lossy(&made.body).into_owned()
}

/// Slashes are written as Alipay writes them: another serialization would not have the signed bytes.
fn made(answer: &Value) -> Made {
    Made {
        status: 200,
        body: answer.to_string().replace('/', "\\/").into_bytes(),
    }
}

fn refusal(code: &str, sub_code: &str) -> Made {
    made(&json!({
        "code": code,
        "msg": "refused by the double",
        "sub_code": sub_code,
        "sub_msg": "refused by the double",
    }))
}

async fn bill_file(Extract(state): Extract<State>, Path(day): Path<NaiveDate>) -> Response {
    let rule = state.core.take(Operation::BillFile);
    shape(
        &rule,
        |_| {
            let file = bill::write(&state.platform.merchant.merchant_id, &state.core.books(), day);
            Made {
                status: if file.is_some() { 200 } else { 404 },
                body: file.unwrap_or_default(),
            }
        },
        |_, code| refusal("40004", code),
        |made, _| made.body.into_response(),
    )
    .await
}
