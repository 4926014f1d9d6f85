//! The gateway: checks the signature, runs the call, signs the answer.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::content::{self, read_time, read_yuan};
use super::platform::sorted;
use super::{State, bill};
use crate::pay::{
    Behaviour, Lie, Made, NewOrder, NewRefund, NewTransfer, Operation, Problem, RefundState, Rule,
    TransferState, routes, shape,
};

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
    let now = state.core.now();
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

const INVALID: &str = "ACQ.INVALID_PARAMETER";
const NO_TRADE: &str = "ACQ.TRADE_NOT_EXIST";

struct Request<'a> {
    state: &'a State,
    rule: &'a Rule,
    content: &'a Value,
    notify_url: &'a str,
    now: DateTime<Utc>,
}

impl Request<'_> {
    /// Runs a call; the error is a `sub_code`.
    fn run(&self, operation: Operation, lie: Lie) -> Result<Value, &'static str> {
        match operation {
            Operation::Create => self.create(),
            Operation::Query => self.query(lie),
            Operation::Close => self.close(),
            Operation::Refund => self.refund(),
            Operation::QueryRefund => self.query_refund(lie),
            Operation::Transfer => self.transfer(),
            Operation::QueryTransfer => self.query_transfer(lie),
            Operation::Bill => self.bill(),
            Operation::BillFile
            | Operation::Certificates
            | Operation::NotifyPayment
            | Operation::NotifyRefund
            | Operation::NotifyTransfer => Err("ACQ.SYSTEM_ERROR"),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.content[name].as_str().filter(|text| !text.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, &'static str> {
        self.text(name).ok_or(INVALID)
    }

    fn create(&self) -> Result<Value, &'static str> {
        let number = self.need("out_trade_no")?;
        let new = NewOrder {
            number: number.to_owned(),
            amount_minor: read_yuan(self.need("total_amount")?).ok_or(INVALID)?,
            subject: self.need("subject")?.to_owned(),
            notify_url: self.notify_url.to_owned(),
            expires_at: read_time(self.need("time_expire")?).ok_or(INVALID)?,
        };
        let mut books = self.state.core.books();
        let order = books.create(new, self.now).map_err(|problem| match problem {
            Problem::Paid => "ACQ.TRADE_HAS_SUCCESS",
            Problem::Closed => "ACQ.TRADE_HAS_CLOSE",
            Problem::Mismatch => "ACQ.CONTEXT_INCONSISTENT",
            Problem::Full => "ACQ.SYSTEM_ERROR",
            Problem::NotFound | Problem::Amount | Problem::NotEnough | Problem::State => INVALID,
        })?;
        let url = self.state.core.page_url(&order.code);
        Ok(json!({ "out_trade_no": number, "qr_code": url }))
    }

    fn query(&self, lie: Lie) -> Result<Value, &'static str> {
        let number = self.need("out_trade_no")?;
        let mut books = self.state.core.books();
        let order = books.order(number, self.now).map_err(|_| NO_TRADE)?.clone();
        if !order.scanned {
            return Err(NO_TRADE);
        }
        Ok(content::trade(&order, books.refunded(number), lie))
    }

    fn close(&self) -> Result<Value, &'static str> {
        let number = self.need("out_trade_no")?;
        let mut books = self.state.core.books();
        let order = books.order(number, self.now).map_err(|_| NO_TRADE)?;
        if !order.scanned {
            return Err(NO_TRADE);
        }
        if order.state != crate::pay::OrderState::Waiting {
            return Err("ACQ.TRADE_STATUS_ERROR");
        }
        let order = books
            .close(number, self.now)
            .map_err(|_| "ACQ.TRADE_STATUS_ERROR")?;
        Ok(json!({ "out_trade_no": order.number, "trade_no": order.provider_no }))
    }

    fn refund(&self) -> Result<Value, &'static str> {
        let number = self.need("out_trade_no")?;
        let core = &self.state.core;
        let new = NewRefund {
            number: self.need("out_request_no")?.to_owned(),
            order: number.to_owned(),
            amount_minor: read_yuan(self.need("refund_amount")?).ok_or(INVALID)?,
            total_minor: None,
            notify_url: core
                .books()
                .order(number, self.now)
                .map_err(|_| NO_TRADE)?
                .notify_url
                .clone(),
        };
        let taken = core.books().refund(new, self.now);
        let (refund, is_new) = taken.map_err(|problem| match problem {
            Problem::NotFound => NO_TRADE,
            Problem::Mismatch => "ACQ.DISCORDANT_REPEAT_REQUEST",
            Problem::NotEnough => "ACQ.SELLER_BALANCE_NOT_ENOUGH",
            Problem::Amount => "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
            Problem::State | Problem::Paid | Problem::Closed | Problem::Full => "ACQ.TRADE_STATUS_ERROR",
        })?;
        let mut moved = false;
        if is_new {
            let (state, after_ms) = self.rule.refund_end(0);
            let number = refund.number.clone();
            if after_ms == 0 && state == RefundState::Succeeded {
                moved = core.end_refund(&number, state).is_ok();
            } else if state != RefundState::Processing {
                core.later(after_ms, move |core| {
                    let _ = core.end_refund(&number, state);
                });
            }
        }
        let refunded = core.books().refunded(number);
        let mut books = core.books();
        let order = books.order(number, self.now).map_err(|_| NO_TRADE)?;
        Ok(json!({
            "out_trade_no": order.number,
            "trade_no": order.provider_no,
            "buyer_logon_id": "dou***@double.example",
            "fund_change": if moved { "Y" } else { "N" },
            "refund_fee": content::yuan(refunded),
        }))
    }

    fn query_refund(&self, lie: Lie) -> Result<Value, &'static str> {
        let number = self.need("out_trade_no")?;
        let request = self.need("out_request_no")?;
        let mut books = self.state.core.books();
        let refund = books
            .refunds
            .get(request)
            .filter(|refund| refund.order == number)
            .cloned();
        let order = books.order(number, self.now).map_err(|_| NO_TRADE)?;
        // A refund that is not known is no error: the answer has nothing in it.
        Ok(refund.map_or_else(|| json!({}), |refund| content::refund(&refund, order, lie)))
    }

    fn transfer(&self) -> Result<Value, &'static str> {
        let payee = &self.content["payee_info"];
        let identity = payee["identity"].as_str().unwrap_or_default();
        let is_user = payee["identity_type"] == "ALIPAY_USER_ID"
            && identity.len() == 16
            && identity.starts_with("2088");
        if !is_user {
            return Err("PAYEE_NOT_EXIST");
        }
        if self.need("product_code")? != "TRANS_ACCOUNT_NO_PWD"
            || self.need("biz_scene")? != "DIRECT_TRANSFER"
        {
            return Err("INVALID_PARAMETER");
        }
        let new = NewTransfer {
            number: self.need("out_biz_no")?.to_owned(),
            recipient: identity.to_owned(),
            amount_minor: read_yuan(self.need("trans_amount")?).ok_or("INVALID_PARAMETER")?,
            remark: self.text("remark").unwrap_or_default().to_owned(),
            notify_url: self.state.platform.gateway(),
            state: TransferState::Processing,
        };
        let core = &self.state.core;
        let taken = core.books().transfer(new, self.now);
        let (transfer, is_new) = taken.map_err(|problem| match problem {
            Problem::NotEnough => "PAYER_BALANCE_NOT_ENOUGH",
            Problem::Amount => "EXCEED_LIMIT_SM_MIN_AMOUNT",
            Problem::Full => "SYSTEM_ERROR",
            Problem::NotFound | Problem::Mismatch | Problem::Paid | Problem::Closed | Problem::State => {
                "INVALID_PARAMETER"
            }
        })?;
        let transfer = if !is_new {
            transfer
        } else if let Behaviour::TransferEnds { state, after_ms } = self.rule.behaviour {
            let number = transfer.number.clone();
            core.later(after_ms, move |core| {
                let _ = core.end_transfer(&number, state);
            });
            transfer
        } else {
            core.end_transfer(&transfer.number, TransferState::Succeeded)
                .map_err(|_| "SYSTEM_ERROR")?
        };
        let mut answer = content::transfer(&transfer, Lie::None);
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("trans_amount");
        }
        Ok(answer)
    }

    fn query_transfer(&self, lie: Lie) -> Result<Value, &'static str> {
        let books = self.state.core.books();
        let transfer = books
            .transfers
            .get(self.need("out_biz_no")?)
            .ok_or("ORDER_NOT_EXIST")?;
        Ok(content::transfer(transfer, lie))
    }

    fn bill(&self) -> Result<Value, &'static str> {
        let day: NaiveDate = self.need("bill_date")?.parse().map_err(|_| INVALID)?;
        if self.need("bill_type")? != "trade" {
            return Err(INVALID);
        }
        let core = &self.state.core;
        bill::write(&self.state.platform.merchant.merchant_id, &core.books(), day)
            .ok_or("isp.bill_not_exist")?;
        Ok(json!({ "bill_download_url": format!("http://{}/bill/{day}", core.addr) }))
    }
}
