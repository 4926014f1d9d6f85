//! Payments by QR code: precreate, query, close.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::json::decimal;
use super::sign::Parameters;
use crate::bill::{beijing, beijing_time};
use crate::{Code, Failure, Money, NewPayment, Number, Outcome, Payment, PaymentState, Reason};

/// Longest text of a QR code that is passed on, in bytes: what one for a screen holds.
const MAX_CODE_BYTES: usize = 512;

#[derive(Serialize)]
struct Create<'a> {
    out_trade_no: &'a str,
    total_amount: String,
    subject: &'a str,
    time_expire: String,
}

#[derive(Deserialize)]
struct Created {
    out_trade_no: String,
    qr_code: String,
}

#[derive(Serialize)]
struct About<'a> {
    out_trade_no: &'a str,
}

/// A trade, in answers and notifications.
#[derive(Debug, Deserialize)]
pub(super) struct Trade {
    out_trade_no: String,
    trade_no: Option<String>,
    trade_status: String,
    #[serde(deserialize_with = "decimal")]
    total_amount: String,
    send_pay_date: Option<String>,
    buyer_user_id: Option<String>,
    buyer_open_id: Option<String>,
}

#[derive(Deserialize)]
struct Closed {
    out_trade_no: String,
}

impl Trade {
    /// Takes a trade out of a notification.
    pub(super) fn of(parameters: &Parameters) -> Result<Self, String> {
        let text = |name: &str| parameters.get(name).filter(|text| !text.is_empty()).cloned();
        let need = |name: &str| text(name).ok_or_else(|| format!("{name} is absent"));
        Ok(Self {
            out_trade_no: need("out_trade_no")?,
            trade_no: text("trade_no"),
            trade_status: need("trade_status")?,
            total_amount: need("total_amount")?,
            send_pay_date: text("gmt_payment"),
            buyer_user_id: text("buyer_id"),
            buyer_open_id: text("buyer_open_id"),
        })
    }

    /// Reads the trade; the error says what makes no sense.
    pub(super) fn read(self) -> Result<Payment, String> {
        let paid_at = self
            .send_pay_date
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(time)
            .transpose()?;
        let state = match self.trade_status.as_str() {
            "WAIT_BUYER_PAY" => PaymentState::Pending,
            "TRADE_SUCCESS" | "TRADE_FINISHED" => PaymentState::Paid,
            "TRADE_CLOSED" if paid_at.is_some() => PaymentState::Refunded,
            "TRADE_CLOSED" => PaymentState::Closed,
            other => return Err(format!("the state {}", crate::outcome::clip(other))),
        };
        let payment = Payment {
            number: Number::new(self.out_trade_no).map_err(|_| "out_trade_no is none of ours")?,
            provider_no: self.trade_no.filter(|text| !text.is_empty()),
            state,
            amount: Some(amount(&self.total_amount)?),
            paid_at,
            payer: self.buyer_user_id.or(self.buyer_open_id),
        };
        if state == PaymentState::Paid && (payment.provider_no.is_none() || paid_at.is_none()) {
            return Err("paid, without number or time".to_owned());
        }
        Ok(payment)
    }
}

pub(super) fn amount(text: &str) -> Result<Money, String> {
    match Money::parse_yuan(text) {
        Ok(money) if money.amount_minor >= 0 => Ok(money),
        Ok(_) => Err("an amount below zero".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    // Some answers have milliseconds.
    let seconds = text.split_once('.').map_or(text, |(seconds, _)| seconds);
    beijing_time(seconds).ok_or_else(|| "a time cannot be read".to_owned())
}

impl Inner {
    pub(super) async fn create(&self, order: &NewPayment) -> Outcome<Code> {
        let expires_at = order.expires_at.with_timezone(&beijing());
        let content = Create {
            out_trade_no: order.number.as_str(),
            total_amount: order.amount.to_yuan(),
            subject: order.subject.as_str(),
            time_expire: expires_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        };
        let created: Created = self
            .call("alipay.trade.precreate", Some(&order.notify_url), &content)
            .await?;
        if created.out_trade_no != order.number.as_str() {
            return Err(Failure::malformed("a trade of another number"));
        }
        if created.qr_code.is_empty() || created.qr_code.len() > MAX_CODE_BYTES {
            return Err(Failure::malformed("the QR code"));
        }
        Ok(Code { url: created.qr_code })
    }

    pub(super) async fn query(&self, payment: &Number) -> Outcome<Payment> {
        let content = About {
            out_trade_no: payment.as_str(),
        };
        let trade: Trade = self.call("alipay.trade.query", None, &content).await?;
        let found = trade.read().map_err(Failure::malformed)?;
        if found.number != *payment {
            return Err(Failure::malformed("a trade of another number"));
        }
        Ok(found)
    }

    pub(super) async fn close(&self, payment: &Number) -> Outcome<()> {
        let content = About {
            out_trade_no: payment.as_str(),
        };
        match self.call::<Closed>("alipay.trade.close", None, &content).await {
            Ok(closed) if closed.out_trade_no == payment.as_str() => Ok(()),
            Ok(_) => Err(Failure::malformed("a trade of another number")),
            Err(failure) if failure.reason() == Some(Reason::Closed) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}
