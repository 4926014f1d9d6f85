//! Transfers to a person's balance.

use serde::{Deserialize, Serialize};

use super::Inner;
use super::json::maybe_decimal;
use super::payment::amount;
use crate::{Failure, NewTransfer, Number, Outcome, Transfer, TransferState};

const PRODUCT: &str = "TRANS_ACCOUNT_NO_PWD";
const SCENE: &str = "DIRECT_TRANSFER";

#[derive(Serialize)]
struct Create<'a> {
    out_biz_no: &'a str,
    trans_amount: String,
    product_code: &'static str,
    biz_scene: &'static str,
    order_title: &'a str,
    payee_info: Payee<'a>,
    remark: &'a str,
}

#[derive(Serialize)]
struct Payee<'a> {
    identity: &'a str,
    identity_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Query<'a> {
    product_code: &'static str,
    biz_scene: &'static str,
    out_biz_no: &'a str,
}

/// A transfer, in answers and notifications.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    out_biz_no: String,
    order_id: Option<String>,
    status: String,
    #[serde(default, deserialize_with = "maybe_decimal")]
    trans_amount: Option<String>,
    fail_reason: Option<String>,
    error_code: Option<String>,
}

impl Found {
    pub(super) fn read(self) -> Result<Transfer, String> {
        let state = match self.status.as_str() {
            "SUCCESS" => TransferState::Succeeded,
            "WAIT_PAY" | "DEALING" => TransferState::Processing,
            "CLOSED" | "FAIL" | "REFUND" => {
                let reason = [self.error_code, self.fail_reason]
                    .into_iter()
                    .flatten()
                    .find(|text| !text.is_empty())
                    .unwrap_or(self.status);
                TransferState::Failed {
                    reason: crate::outcome::clip(&reason),
                }
            }
            other => return Err(format!("the state {}", crate::outcome::clip(other))),
        };
        Ok(Transfer {
            number: Number::new(self.out_biz_no).map_err(|_| "out_biz_no is none of ours")?,
            provider_no: self.order_id,
            amount: self.trans_amount.as_deref().map(amount).transpose()?,
            state,
        })
    }

    fn about(self, number: &Number) -> Outcome<Transfer> {
        let found = self.read().map_err(Failure::malformed)?;
        if found.number != *number {
            return Err(Failure::malformed("a transfer of another number"));
        }
        Ok(found)
    }
}

impl Inner {
    pub(super) async fn transfer(&self, transfer: &NewTransfer) -> Outcome<Transfer> {
        let content = Create {
            out_biz_no: transfer.number.as_str(),
            trans_amount: transfer.amount.to_yuan(),
            product_code: PRODUCT,
            biz_scene: SCENE,
            order_title: transfer.remark.as_str(),
            payee_info: Payee {
                identity: &transfer.recipient.id,
                identity_type: "ALIPAY_USER_ID",
                name: transfer.recipient.name.as_deref(),
            },
            remark: transfer.remark.as_str(),
        };
        let found: Found = self
            .call("alipay.fund.trans.uni.transfer", None, &content)
            .await?;
        found.about(&transfer.number)
    }

    pub(super) async fn query_transfer(&self, transfer: &Number) -> Outcome<Transfer> {
        let content = Query {
            product_code: PRODUCT,
            biz_scene: SCENE,
            out_biz_no: transfer.as_str(),
        };
        let found: Found = self
            .call("alipay.fund.trans.common.query", None, &content)
            .await?;
        found.about(transfer)
    }
}
