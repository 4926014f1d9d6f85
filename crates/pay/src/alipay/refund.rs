//! Refunds.

use serde::{Deserialize, Serialize};

use super::Inner;
use super::json::maybe_decimal;
use super::payment::{amount, time};
use crate::{Failure, NewRefund, Number, Outcome, Reason, Refund, RefundState};

#[derive(Serialize)]
struct Create<'a> {
    out_trade_no: &'a str,
    out_request_no: &'a str,
    refund_amount: String,
    refund_reason: &'a str,
}

#[derive(Deserialize)]
struct Created {
    out_trade_no: String,
    fund_change: Option<String>,
}

#[derive(Serialize)]
struct Query<'a> {
    out_trade_no: &'a str,
    out_request_no: &'a str,
    query_options: [&'static str; 1],
}

#[derive(Deserialize)]
struct Found {
    out_trade_no: Option<String>,
    out_request_no: Option<String>,
    #[serde(default, deserialize_with = "maybe_decimal")]
    refund_amount: Option<String>,
    refund_status: Option<String>,
    gmt_refund_pay: Option<String>,
}

impl Inner {
    pub(super) async fn refund(&self, refund: &NewRefund) -> Outcome<Refund> {
        let content = Create {
            out_trade_no: refund.payment.as_str(),
            out_request_no: refund.number.as_str(),
            refund_amount: refund.amount.to_yuan(),
            refund_reason: refund.reason.as_str(),
        };
        let created: Created = self.call("alipay.trade.refund", None, &content).await?;
        if created.out_trade_no != refund.payment.as_str() {
            return Err(Failure::malformed("a refund of another trade"));
        }
        Ok(Refund {
            number: refund.number.clone(),
            payment: refund.payment.clone(),
            provider_no: None,
            amount: None,
            // "N": this call moved no money. An earlier one may have, or this one will: only the query knows.
            state: match created.fund_change.as_deref() {
                Some("Y") => RefundState::Succeeded,
                Some(_) | None => RefundState::Processing,
            },
            refunded_at: None,
        })
    }

    pub(super) async fn query_refund(&self, refund: &Number, payment: &Number) -> Outcome<Refund> {
        let content = Query {
            out_trade_no: payment.as_str(),
            out_request_no: refund.as_str(),
            query_options: ["gmt_refund_pay"],
        };
        let found: Found = self
            .call("alipay.trade.fastpay.refund.query", None, &content)
            .await?;
        let state = match found.refund_status.as_deref() {
            Some("REFUND_SUCCESS") => RefundState::Succeeded,
            Some("REFUND_PROCESSING") => RefundState::Processing,
            Some("REFUND_FAIL") => RefundState::Closed,
            // "Not returned: the request did not arrive, or it failed": the same number may be used again.
            Some("") | None => {
                return Err(Failure::refused(
                    Reason::NotFound,
                    "NO_REFUND_STATUS",
                    "no refund",
                ));
            }
            Some(other) => {
                let state = crate::outcome::clip(other);
                return Err(Failure::malformed(format!("the state {state}")));
            }
        };
        let is_ours = |found: Option<&str>, ours: &Number| found == Some(ours.as_str());
        if !is_ours(found.out_trade_no.as_deref(), payment)
            || !is_ours(found.out_request_no.as_deref(), refund)
        {
            return Err(Failure::malformed("a refund of another number"));
        }
        let amount = found.refund_amount.as_deref().map(amount).transpose();
        let refunded_at = found
            .gmt_refund_pay
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(time)
            .transpose();
        Ok(Refund {
            number: refund.clone(),
            payment: payment.clone(),
            provider_no: None,
            amount: amount.map_err(Failure::malformed)?,
            state,
            refunded_at: refunded_at.map_err(Failure::malformed)?,
        })
    }
}
