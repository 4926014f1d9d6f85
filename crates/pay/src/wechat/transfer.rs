//! Transfers to a person's change.

use serde::{Deserialize, Serialize};

use super::payment::money;
use super::{Config, Inner};
use crate::{Failure, NewTransfer, Number, Outcome, Reason, Transfer, TransferState};

const TARGET: &str = "/v3/fund-app/mch-transfer/transfer-bills";
/// Longest remark that WeChat takes, in bytes.
const MAX_REMARK_BYTES: usize = 32;

#[derive(Serialize)]
struct Create<'a> {
    appid: &'a str,
    out_bill_no: &'a str,
    transfer_scene_id: &'a str,
    openid: &'a str,
    transfer_amount: i64,
    transfer_remark: &'a str,
    notify_url: &'a str,
    transfer_scene_report_infos: Vec<Report<'a>>,
}

#[derive(Serialize)]
struct Report<'a> {
    info_type: &'a str,
    info_content: &'a str,
}

/// A transfer, in answers and notifications. The answer to a new one names neither amount nor merchant.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    mch_id: Option<String>,
    out_bill_no: String,
    transfer_bill_no: Option<String>,
    state: String,
    transfer_amount: Option<i64>,
    fail_reason: Option<String>,
    package_info: Option<String>,
}

impl Found {
    /// Says whether it is about this merchant; answers that name none are about who asked.
    pub(super) fn is_of_merchant(&self, config: &Config) -> bool {
        self.mch_id.as_ref().is_none_or(|id| *id == config.merchant_id)
    }

    pub(super) fn read(self) -> Result<Transfer, String> {
        let state = match self.state.as_str() {
            // Cancelling may still end in a success.
            "ACCEPTED" | "PROCESSING" | "TRANSFERING" | "CANCELING" => TransferState::Processing,
            "WAIT_USER_CONFIRM" => TransferState::AwaitingRecipient {
                package: self.package_info,
            },
            "SUCCESS" => TransferState::Succeeded,
            "FAIL" | "CANCELLED" => TransferState::Failed {
                reason: crate::outcome::clip(
                    self.fail_reason
                        .as_deref()
                        .filter(|text| !text.is_empty())
                        .unwrap_or(&self.state),
                ),
            },
            other => return Err(format!("the state {}", crate::outcome::clip(other))),
        };
        Ok(Transfer {
            number: Number::new(self.out_bill_no).map_err(|_| "out_bill_no is none of ours")?,
            provider_no: self.transfer_bill_no,
            amount: self.transfer_amount.map(|fen| money(fen, None)).transpose()?,
            state,
        })
    }

    fn about(self, number: &Number, config: &Config) -> Outcome<Transfer> {
        if !self.is_of_merchant(config) {
            return Err(Failure::malformed("a transfer of another merchant"));
        }
        let found = self.read().map_err(Failure::malformed)?;
        if found.number != *number {
            return Err(Failure::malformed("a transfer of another number"));
        }
        Ok(found)
    }
}

impl Inner {
    pub(super) async fn transfer(&self, transfer: &NewTransfer) -> Outcome<Transfer> {
        let Some(scene) = &self.config.scene else {
            return Err(Failure::refused(
                Reason::Forbidden,
                "NO_SCENE",
                "no scene of transfers is set",
            ));
        };
        let reports = scene.reports.iter().map(|(info_type, info_content)| Report {
            info_type,
            info_content,
        });
        let body = Create {
            appid: &self.config.app_id,
            out_bill_no: transfer.number.as_str(),
            transfer_scene_id: &scene.id,
            openid: &transfer.recipient.id,
            transfer_amount: transfer.amount.amount_minor,
            transfer_remark: transfer.remark.start(MAX_REMARK_BYTES),
            notify_url: &transfer.notify_url,
            transfer_scene_report_infos: reports.collect(),
        };
        let found: Found = self.post(TARGET, &body).await?;
        found.about(&transfer.number, &self.config)
    }

    pub(super) async fn query_transfer(&self, transfer: &Number) -> Outcome<Transfer> {
        let found: Found = self.get(&format!("{TARGET}/out-bill-no/{transfer}")).await?;
        found.about(transfer, &self.config)
    }
}
