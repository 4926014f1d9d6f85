//! The calls: decode, change the books, write the answer.

use std::sync::PoisonError;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::content::{self, read_time, read_yuan};
use super::{State, bill};
use crate::pay::{
    Behaviour, Lie, NewOrder, NewRefund, NewTransfer, Operation, OrderState, Problem, RefundState, Rule,
    TransferState,
};

const INVALID: &str = "ACQ.INVALID_PARAMETER";
const NO_TRADE: &str = "ACQ.TRADE_NOT_EXIST";

/// A call with what it needs.
pub(super) struct Request<'a> {
    pub(super) state: &'a State,
    pub(super) rule: &'a Rule,
    pub(super) content: &'a Value,
    pub(super) notify_url: &'a str,
    pub(super) now: DateTime<Utc>,
}

impl Request<'_> {
    /// Runs a call; the error is a `sub_code`.
    pub(super) fn run(&self, operation: Operation, lie: Lie) -> Result<Value, &'static str> {
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
        if order.state != OrderState::Waiting {
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
            notify_url: self
                .state
                .gateway
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
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
