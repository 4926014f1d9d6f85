//! WithdrawalService: decode, operate, encode.

use proto::billing::v1 as pb;
use proto::billing::v1::withdrawal_service_server::WithdrawalService;
use tonic::{Request, Response, Status};

use super::encode::time;
use super::{amount, channel, id, request_id, text};
use crate::DOMAIN;
use crate::app::App;
use crate::app::withdrawals::{self, Credit, Payee, Wish};
use crate::domain::{CNY, Page};
use crate::error::Error;
use crate::store::commission::{Account, Entry};
use crate::store::withdrawals::Withdrawal;

/// Longest credit id, in characters.
const MAX_CREDIT_CHARS: usize = 200;
/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 200;

/// WithdrawalService, as in `proto/evenkeel/billing/v1/withdrawal_service.proto`.
#[derive(Debug)]
pub(super) struct Withdrawals {
    pub(super) app: App,
}

#[tonic::async_trait]
impl WithdrawalService for Withdrawals {
    async fn create_withdrawal(
        &self,
        request: Request<pb::CreateWithdrawalRequest>,
    ) -> Result<Response<pb::CreateWithdrawalResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request_id = request_id(&request, &request.get_ref().request_id)?;
        let request = request.get_ref();
        let wish = Wish {
            user_id,
            amount: amount(request.amount)?,
            channel: channel(request.channel())?,
            payee: Payee::new(&request.recipient, &request.recipient_name)?,
            request_id,
        };
        let (saga_id, withdrawal) = withdrawals::create(&self.app, &wish).await?;
        Ok(Response::new(pb::CreateWithdrawalResponse {
            saga_id: saga_id.to_string(),
            withdrawal: withdrawal.map(encode),
        }))
    }

    async fn get_withdrawal(
        &self,
        request: Request<pb::GetWithdrawalRequest>,
    ) -> Result<Response<pb::GetWithdrawalResponse>, Status> {
        let visible_to = token::caller(&request).confined_to()?;
        let id = id("withdrawal_id", &request.get_ref().withdrawal_id)?;
        let found = withdrawals::get(&self.app, id, visible_to).await?;
        Ok(Response::new(pb::GetWithdrawalResponse {
            withdrawal: Some(encode(found)),
        }))
    }

    async fn list_withdrawals(
        &self,
        request: Request<pb::ListWithdrawalsRequest>,
    ) -> Result<Response<pb::ListWithdrawalsResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request = request.get_ref();
        let list = format!("withdrawals of {user_id}");
        let page = Page::new(list, request.page_size, &request.page_token)?;
        let (rows, next_page_token) = withdrawals::list(&self.app, user_id, &page).await?;
        Ok(Response::new(pb::ListWithdrawalsResponse {
            withdrawals: rows.into_iter().map(encode).collect(),
            next_page_token,
        }))
    }

    async fn get_commission(
        &self,
        request: Request<pb::GetCommissionRequest>,
    ) -> Result<Response<pb::GetCommissionResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let account = withdrawals::get_commission(&self.app, user_id).await?;
        Ok(Response::new(pb::GetCommissionResponse {
            commission: Some(encode_account(user_id, account)),
        }))
    }

    async fn list_commission_entries(
        &self,
        request: Request<pb::ListCommissionEntriesRequest>,
    ) -> Result<Response<pb::ListCommissionEntriesResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request = request.get_ref();
        let list = format!("commission of {user_id}");
        let page = Page::new(list, request.page_size, &request.page_token)?;
        let (rows, next_page_token) = withdrawals::list_entries(&self.app, user_id, &page).await?;
        Ok(Response::new(pb::ListCommissionEntriesResponse {
            entries: rows.into_iter().map(encode_entry).collect(),
            next_page_token,
        }))
    }

    async fn credit_commission(
        &self,
        request: Request<pb::CreditCommissionRequest>,
    ) -> Result<Response<pb::CreditCommissionResponse>, Status> {
        let request = request.get_ref();
        let problem = "must be 1 to 200 printable characters";
        let credit_id = text("credit_id", &request.credit_id, MAX_CREDIT_CHARS, problem)?;
        if credit_id.is_empty() {
            let field = "credit_id";
            return Err(Error::Invalid { field, problem }.into());
        }
        let credit = Credit {
            credit_id,
            user_id: id("user_id", &request.user_id)?,
            amount: amount(request.amount)?,
            note: text(
                "note",
                &request.note,
                MAX_NOTE_CHARS,
                "must be at most 200 printable characters",
            )?,
        };
        let (account, created) = App::transaction(&self.app.pool, async |conn| {
            withdrawals::credit(conn, &credit).await
        })
        .await?;
        Ok(Response::new(pb::CreditCommissionResponse {
            commission: Some(encode_account(credit.user_id, account)),
            created,
        }))
    }
}

fn encode(row: Withdrawal) -> pb::Withdrawal {
    pb::Withdrawal {
        withdrawal_id: row.id.to_string(),
        withdrawal_no: row.withdrawal_no,
        user_id: row.user_id.to_string(),
        channel: pb::Channel::from(row.channel).into(),
        amount: row.amount.minor(),
        currency: row.currency,
        status: pb::WithdrawalStatus::from(row.status).into(),
        provider_no: row.provider_no.unwrap_or_default(),
        package: row.package.unwrap_or_default(),
        error: row.error.unwrap_or_default(),
        saga_id: row.saga_id.to_string(),
        created_at: Some(time(row.created_at)),
        ended_at: row.ended_at.map(time),
    }
}

fn encode_account(user_id: ids::UserId, account: Account) -> pb::Commission {
    pb::Commission {
        user_id: user_id.to_string(),
        earned: account.earned,
        available: account.available,
        frozen: account.frozen,
        withdrawn: account.withdrawn,
        currency: CNY.to_owned(),
    }
}

fn encode_entry(row: Entry) -> pb::CommissionEntry {
    pb::CommissionEntry {
        entry_id: row.id.to_string(),
        kind: row.kind,
        earned_delta: row.earned_delta,
        available_delta: row.available_delta,
        frozen_delta: row.frozen_delta,
        withdrawn_delta: row.withdrawn_delta,
        withdrawal_id: row.withdrawal_id.map(|id| id.to_string()).unwrap_or_default(),
        credit_id: row.credit_id.unwrap_or_default(),
        created_at: Some(time(row.created_at)),
    }
}
