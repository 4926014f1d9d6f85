//! Decides a withdrawal: the provider sends the money.

use std::time::Duration;

use barrier::{Again, Done};
use chrono::Utc;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use super::{lock, withdrawal_id};
use crate::domain::{WithdrawalStatus, patience};
use crate::error::Error;
use crate::store::checks::{self, Subject};
use crate::store::withdrawals;

/// How soon the step is asked again: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Makes the transfer due, and answers when the provider has said how it ended.
///
/// The provider is called by the worker of `provider_checks`, after this transaction was committed.
pub(crate) async fn call_provider_transfer(
    _: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallProviderTransferRequest,
    _: Again,
) -> Result<Done<pb::CallProviderTransferResponse>, Error> {
    let withdrawal = lock(conn, withdrawal_id(&request.withdrawal_id)?).await?;
    match withdrawal.status {
        WithdrawalStatus::Frozen => {
            if !withdrawals::begin(conn, withdrawal.id, &call.step).await? {
                return Err(Error::Broken("a locked withdrawal has changed"));
            }
            checks::due(
                conn,
                Subject::Withdrawal,
                withdrawal.id.uuid(),
                withdrawal.channel,
            )
            .await?;
            Ok(Done::Pending {
                ask_again: FIRST_WAIT,
            })
        }
        WithdrawalStatus::Processing => Ok(Done::Pending {
            ask_again: patience(withdrawal.updated_at, Utc::now(), (FIRST_WAIT, LONGEST_WAIT)),
        }),
        WithdrawalStatus::Succeeded => Ok(Done::Reply(pb::CallProviderTransferResponse {
            provider_no: withdrawal.provider_no.unwrap_or_default(),
        })),
        WithdrawalStatus::Failed => Err(Error::ChannelRefused(withdrawal.error.unwrap_or_default())),
    }
}
