//! The calls: decode, change the books, write the answer.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{Call, made};
use super::{State, bill, json};
use crate::pay::{
    Behaviour, Lie, Made, NewOrder, NewRefund, NewTransfer, Problem, Refund, RefundState, Rule, TransferState,
};

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

/// A call with what it needs.
pub(super) struct Request<'a> {
    pub(super) state: &'a State,
    pub(super) rule: &'a Rule,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    pub(super) now: DateTime<Utc>,
}

impl Request<'_> {
    pub(super) fn run(&self, call: &Call<'_>, lie: Lie) -> Result<Made, No> {
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
