//! Confirms a withdrawal.

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use super::{lock, withdrawal_id};
use crate::domain::{Movement, WithdrawalStatus};
use crate::error::Error;
use crate::store::commission::{self, NewEntry};

/// Books what was frozen as withdrawn, once.
pub(crate) async fn deduct_commission(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::DeductCommissionRequest,
    _: Again,
) -> Result<Done<pb::DeductCommissionResponse>, Error> {
    let withdrawal = lock(conn, withdrawal_id(&request.withdrawal_id)?).await?;
    if withdrawal.status != WithdrawalStatus::Succeeded {
        return Err(Error::Broken("a withdrawal is confirmed that has not succeeded"));
    }
    let entry = NewEntry {
        user_id: withdrawal.user_id,
        movement: Movement::Withdrawn,
        amount: withdrawal.amount,
        withdrawal_id: Some(withdrawal.id),
        credit_id: None,
        note: None,
    };
    if !commission::book(conn, &entry).await? {
        let ended = commission::ended(conn, withdrawal.id).await?;
        if ended.as_deref() != Some(Movement::Withdrawn.name()) {
            return Err(Error::Broken("a withdrawal that has succeeded was unfrozen"));
        }
    }
    Ok(Done::Reply(pb::DeductCommissionResponse {}))
}
