//! Cancels a withdrawal.

use std::time::Duration;

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use super::{apply, lock, withdrawal_id};
use crate::domain::{Movement, WithdrawalStatus};
use crate::error::Error;
use crate::store::commission::{self, NewEntry};

/// How soon the step is asked again while the provider may still send the money.
const WAIT: Duration = Duration::from_secs(1);
/// What is kept of the saga's cause, in characters.
const MAX_CAUSE_CHARS: usize = 200;

/// Makes what was frozen available again, once. While the provider has been asked and has not answered, it stays frozen.
pub(crate) async fn unfreeze_commission(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::UnfreezeCommissionRequest,
    _: Again,
) -> Result<Done<pb::UnfreezeCommissionResponse>, Error> {
    let withdrawal = lock(conn, withdrawal_id(&request.withdrawal_id)?).await?;
    match withdrawal.status {
        WithdrawalStatus::Frozen => {
            let cause: String = request.cause.chars().take(MAX_CAUSE_CHARS).collect();
            apply::failed(conn, &withdrawal, None, &format!("not sent: {cause}")).await?;
        }
        // The saga went back before it heard of the outcome.
        WithdrawalStatus::Processing => return Ok(Done::Pending { ask_again: WAIT }),
        WithdrawalStatus::Succeeded => {
            return Err(Error::Broken(
                "a withdrawal that has succeeded cannot be unfrozen",
            ));
        }
        WithdrawalStatus::Failed => {}
    }
    let entry = NewEntry {
        user_id: withdrawal.user_id,
        movement: Movement::Unfrozen,
        amount: withdrawal.amount,
        withdrawal_id: Some(withdrawal.id),
        credit_id: None,
        note: None,
    };
    if !commission::book(conn, &entry).await? {
        let ended = commission::ended(conn, withdrawal.id).await?;
        if ended.as_deref() != Some(Movement::Unfrozen.name()) {
            return Err(Error::Broken("a withdrawal that has failed was withdrawn"));
        }
    }
    Ok(Done::Reply(pb::UnfreezeCommissionResponse {}))
}
