//! The API: checks the signature, runs the call, signs the answer.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{State, auth, bill, json};
use crate::pay::{
    Behaviour, Lie, Made, NewOrder, NewRefund, NewTransfer, Operation, Problem, Refund, RefundState, Rule,
    TransferState, routes, shape,
};

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
enum Call<'a> {
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
    let now = state.core.now();
    if !auth::is_the_merchants(&state.platform, &method, &uri, &headers, &body, now.timestamp()) {
        // Nothing is signed for somebody who may be anybody.
        return unsigned(refusal(401, "SIGN_ERROR"));
    }
    let by_public_key = headers
        .get("wechatpay-serial")
        .is_some_and(|serial| *serial == state.platform.merchant.public_key_id);
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
    let (at, nonce) = (state.core.now().timestamp(), crate::random_text());
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

fn made(status: u16, body: &Value) -> Made {
    Made {
        status,
        body: body.to_string().into_bytes(),
    }
}

/// An HTTP status and a code.
type No = (u16, &'static str);

const PARAM_ERROR: No = (400, "PARAM_ERROR");

#[derive(Deserialize)]
struct Create {
    appid: String,
    mchid: String,
    description: String,
    out_trade_no: String,
    time_expire: DateTime<Utc>,
    notify_url: String,
    amount: Total,
}

#[derive(Deserialize)]
struct Total {
    total: i64,
    currency: String,
}

#[derive(Deserialize)]
struct Refunding {
    out_trade_no: String,
    out_refund_no: String,
    notify_url: Option<String>,
    amount: RefundAmount,
}

#[derive(Deserialize)]
struct RefundAmount {
    refund: i64,
    total: i64,
    currency: String,
}

#[derive(Deserialize)]
struct Transferring {
    appid: String,
    out_bill_no: String,
    transfer_scene_id: String,
    openid: String,
    transfer_amount: i64,
    transfer_remark: String,
    notify_url: Option<String>,
    transfer_scene_report_infos: Vec<Value>,
}

#[derive(Deserialize)]
struct Closing {
    mchid: String,
}

struct Request<'a> {
    state: &'a State,
    rule: &'a Rule,
    query: &'a str,
    body: &'a [u8],
    now: DateTime<Utc>,
}

impl Request<'_> {
    fn run(&self, call: &Call<'_>, lie: Lie) -> Result<Made, No> {
        match call {
            Call::Create => self.create(),
            Call::Query(number) => self.query(number, lie),
            Call::Close(number) => self.close(number),
            Call::Refund => self.refund(lie),
            Call::QueryRefund(number) => self.query_refund(number, lie),
            Call::Transfer => self.transfer(),
            Call::QueryTransfer(number) => self.query_transfer(number, lie),
            Call::Bill => self.bill(),
            Call::BillFile => self.bill_file(),
            Call::Certificates => Ok(made(200, &self.state.platform.list())),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, No> {
        serde_json::from_slice(self.body).map_err(|_| PARAM_ERROR)
    }

    fn create(&self) -> Result<Made, No> {
        let new: Create = self.parse()?;
        let merchant = &self.state.platform.merchant;
        if new.mchid != merchant.merchant_id || new.appid != merchant.app_id {
            return Err((400, "APPID_MCHID_NOT_MATCH"));
        }
        if !is_number(&new.out_trade_no, 6, 32)
            || !(1..=127).contains(&new.description.len())
            || new.amount.currency != "CNY"
        {
            return Err(PARAM_ERROR);
        }
        let new = NewOrder {
            number: new.out_trade_no,
            amount_minor: new.amount.total,
            subject: new.description,
            notify_url: new.notify_url,
            expires_at: new.time_expire,
        };
        let mut books = self.state.core.books();
        let order = books.create(new, self.now).map_err(|problem| match problem {
            Problem::Paid => (400, "ORDERPAID"),
            Problem::Closed => (400, "ORDER_CLOSED"),
            Problem::Mismatch => (403, "OUT_TRADE_NO_USED"),
            Problem::Full => (500, "SYSTEM_ERROR"),
            Problem::NotFound | Problem::Amount | Problem::NotEnough | Problem::State => PARAM_ERROR,
        })?;
        let url = self.state.core.page_url(&order.code);
        Ok(made(200, &json!({ "code_url": url })))
    }

    fn query(&self, number: &str, lie: Lie) -> Result<Made, No> {
        if self.parameter("mchid") != Some(self.state.platform.merchant.merchant_id.as_str()) {
            return Err((400, "MCH_NOT_EXISTS"));
        }
        let mut books = self.state.core.books();
        let order = books
            .order(number, self.now)
            .map_err(|_| (404, "ORDER_NOT_EXIST"))?
            .clone();
        let refunded = books.refunded(number);
        Ok(made(
            200,
            &json::transaction(&self.state.platform, &order, refunded, lie),
        ))
    }

    fn close(&self, number: &str) -> Result<Made, No> {
        let closing: Closing = self.parse()?;
        if closing.mchid != self.state.platform.merchant.merchant_id {
            return Err((400, "MCH_NOT_EXISTS"));
        }
        let mut books = self.state.core.books();
        books.close(number, self.now).map_err(|problem| match problem {
            Problem::Paid => (400, "ORDERPAID"),
            Problem::NotFound
            | Problem::Mismatch
            | Problem::Closed
            | Problem::Amount
            | Problem::NotEnough
            | Problem::State
            | Problem::Full => (404, "ORDER_NOT_EXIST"),
        })?;
        Ok(Made {
            status: 204,
            body: Vec::new(),
        })
    }

    fn refund(&self, lie: Lie) -> Result<Made, No> {
        let new: Refunding = self.parse()?;
        if !is_number(&new.out_refund_no, 1, 64) || new.amount.currency != "CNY" {
            return Err(PARAM_ERROR);
        }
        let new = NewRefund {
            number: new.out_refund_no,
            order: new.out_trade_no,
            amount_minor: new.amount.refund,
            total_minor: Some(new.amount.total),
            notify_url: new.notify_url.unwrap_or_default(),
        };
        let (refund, is_new) =
            self.state
                .core
                .books()
                .refund(new, self.now)
                .map_err(|problem| match problem {
                    Problem::NotFound => (404, "RESOURCE_NOT_EXISTS"),
                    Problem::NotEnough => (403, "NOT_ENOUGH"),
                    Problem::State => (403, "TRADE_ERROR"),
                    Problem::Mismatch | Problem::Paid | Problem::Closed | Problem::Amount | Problem::Full => {
                        (400, "INVALID_REQUEST")
                    }
                })?;
        if is_new {
            let (state, after_ms) = self.rule.refund_end(self.state.core.options.refund_ms);
            let number = refund.number.clone();
            // A refund that does not end is left to the control route.
            if state != RefundState::Processing {
                self.state.core.later(after_ms, move |core| {
                    let _ = core.end_refund(&number, state);
                });
            }
        }
        self.found_refund(&refund, lie)
    }

    fn query_refund(&self, number: &str, lie: Lie) -> Result<Made, No> {
        let refund = self.state.core.books().refunds.get(number).cloned();
        self.found_refund(&refund.ok_or((404, "RESOURCE_NOT_EXISTS"))?, lie)
    }

    fn found_refund(&self, refund: &Refund, lie: Lie) -> Result<Made, No> {
        let mut books = self.state.core.books();
        let order = books
            .order(&refund.order, self.now)
            .map_err(|_| (404, "RESOURCE_NOT_EXISTS"))?;
        Ok(made(200, &json::refund(refund, order, lie)))
    }

    fn transfer(&self) -> Result<Made, No> {
        let new: Transferring = self.parse()?;
        let complete = !new.transfer_scene_id.is_empty() && !new.transfer_scene_report_infos.is_empty();
        if new.appid != self.state.platform.merchant.app_id
            || !complete
            || !is_number(&new.out_bill_no, 1, 32)
        {
            return Err(PARAM_ERROR);
        }
        let new = NewTransfer {
            number: new.out_bill_no,
            recipient: new.openid,
            amount_minor: new.transfer_amount,
            remark: new.transfer_remark,
            notify_url: new.notify_url.unwrap_or_default(),
            state: TransferState::Waiting,
        };
        let (transfer, is_new) = self
            .state
            .core
            .books()
            .transfer(new, self.now)
            .map_err(|problem| match problem {
                Problem::Mismatch => (400, "ALREADY_EXISTS"),
                Problem::NotEnough => (403, "NOT_ENOUGH"),
                Problem::Full => (500, "SYSTEM_ERROR"),
                Problem::NotFound | Problem::Paid | Problem::Closed | Problem::Amount | Problem::State => {
                    PARAM_ERROR
                }
            })?;
        if let (true, Behaviour::TransferEnds { state, after_ms }) = (is_new, &self.rule.behaviour) {
            let (number, state) = (transfer.number.clone(), *state);
            self.state.core.later(*after_ms, move |core| {
                let _ = core.end_transfer(&number, state);
            });
        }
        let mut answer = json!({
            "out_bill_no": transfer.number,
            "transfer_bill_no": transfer.provider_no,
            "create_time": json::time(transfer.created_at),
            "state": json::transfer_state(transfer.state),
        });
        if transfer.state == TransferState::Waiting {
            answer["package_info"] = format!("affffddafdfafddffda=={}", transfer.provider_no).into();
        }
        Ok(made(200, &answer))
    }

    fn query_transfer(&self, number: &str, lie: Lie) -> Result<Made, No> {
        let books = self.state.core.books();
        let transfer = books.transfers.get(number).ok_or((404, "NOT_FOUND"))?;
        Ok(made(200, &json::transfer(&self.state.platform, transfer, lie)))
    }

    fn bill(&self) -> Result<Made, No> {
        let day = self.parameter("bill_date").ok_or(PARAM_ERROR)?;
        let text = self.bill_text(day)?;
        let packed = self.parameter("tar_type") == Some("GZIP");
        Ok(made(
            200,
            &json!({
                "hash_type": "SHA1",
                "hash_value": bill::hash(&text),
                "download_url": format!("http://{}/v3/billdownload/file?token={day}.{packed}", self.state.core.addr),
            }),
        ))
    }

    fn bill_file(&self) -> Result<Made, No> {
        let token = self.parameter("token").ok_or(PARAM_ERROR)?;
        let (day, packed) = token.split_once('.').ok_or(PARAM_ERROR)?;
        let text = self.bill_text(day)?;
        Ok(Made {
            status: 200,
            body: if packed == "true" {
                bill::compress(&text)
            } else {
                text.into_bytes()
            },
        })
    }

    fn bill_text(&self, day: &str) -> Result<String, No> {
        let day: NaiveDate = day.parse().map_err(|_| PARAM_ERROR)?;
        bill::write(&self.state.platform, &self.state.core.books(), day).ok_or((400, "NO_STATEMENT_EXIST"))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

fn is_number(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b))
}
