//! Refunds.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::payment::{maybe_time, money};
use crate::{Failure, NewRefund, Number, Outcome, Refund, RefundState};

/// Longest reason that WeChat takes, in bytes.
const MAX_REASON_BYTES: usize = 80;

#[derive(Serialize)]
struct Create<'a> {
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    reason: &'a str,
    notify_url: &'a str,
    amount: NewAmount,
}

#[derive(Serialize)]
struct NewAmount {
    refund: i64,
    total: i64,
    currency: &'static str,
}

#[derive(Debug, Deserialize)]
struct Found {
    refund_id: String,
    out_refund_no: String,
    out_trade_no: String,
    status: String,
    #[serde(default, deserialize_with = "maybe_time")]
    success_time: Option<DateTime<Utc>>,
    amount: Amount,
}

#[derive(Debug, Deserialize)]
struct Amount {
    refund: i64,
    currency: Option<String>,
}

/// A refund, in notifications.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) mchid: String,
    refund_id: String,
    out_refund_no: String,
    out_trade_no: String,
    refund_status: String,
    #[serde(default, deserialize_with = "maybe_time")]
    success_time: Option<DateTime<Utc>>,
    amount: Amount,
}

impl Told {
    pub(super) fn read(self) -> Result<Refund, String> {
        Found {
            refund_id: self.refund_id,
            out_refund_no: self.out_refund_no,
            out_trade_no: self.out_trade_no,
            status: self.refund_status,
            success_time: self.success_time,
            amount: self.amount,
        }
        .read()
    }
}

impl Found {
    fn read(self) -> Result<Refund, String> {
        let state = match self.status.as_str() {
            "PROCESSING" => RefundState::Processing,
            "SUCCESS" => RefundState::Succeeded,
            "CLOSED" => RefundState::Closed,
            "ABNORMAL" => RefundState::Abnormal,
            other => return Err(format!("the state {}", crate::outcome::clip(other))),
        };
        let number = |text: String| Number::new(text).map_err(|_| "a number is none of ours".to_owned());
        Ok(Refund {
            number: number(self.out_refund_no)?,
            payment: number(self.out_trade_no)?,
            provider_no: Some(self.refund_id),
            amount: Some(money(self.amount.refund, self.amount.currency.as_deref())?),
            state,
            refunded_at: self.success_time,
        })
    }

    fn about(self, refund: &Number, payment: &Number) -> Outcome<Refund> {
        let found = self.read().map_err(Failure::malformed)?;
        if found.number != *refund || found.payment != *payment {
            return Err(Failure::malformed("a refund of another number"));
        }
        Ok(found)
    }
}

impl Inner {
    pub(super) async fn refund(&self, refund: &NewRefund) -> Outcome<Refund> {
        let body = Create {
            out_trade_no: refund.payment.as_str(),
            out_refund_no: refund.number.as_str(),
            reason: refund.reason.start(MAX_REASON_BYTES),
            notify_url: &refund.notify_url,
            amount: NewAmount {
                refund: refund.amount.amount_minor,
                total: refund.total.amount_minor,
                currency: refund.amount.currency.code(),
            },
        };
        let found: Found = self.post("/v3/refund/domestic/refunds", &body).await?;
        let found = found.about(&refund.number, &refund.payment)?;
        if found.amount != Some(refund.amount) {
            return Err(Failure::malformed("a refund of another amount"));
        }
        Ok(found)
    }

    pub(super) async fn query_refund(&self, refund: &Number, payment: &Number) -> Outcome<Refund> {
        let found: Found = self.get(&format!("/v3/refund/domestic/refunds/{refund}")).await?;
        found.about(refund, payment)
    }
}
