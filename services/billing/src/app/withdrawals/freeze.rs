//! Tries a withdrawal.

use barrier::{Again, Done};
use ids::UserId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use super::withdrawal_id;
use crate::domain::{Amount, Channel, Movement, WITHDRAWAL, number};
use crate::error::Error;
use crate::store::commission::NewEntry;
use crate::store::withdrawals::NewWithdrawal;
use crate::store::{commission, payees, withdrawals};

/// Freezes the amount and writes the withdrawal, with the number under which the provider will know it.
pub(crate) async fn freeze_commission(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::FreezeCommissionRequest,
    _: Again,
) -> Result<Done<pb::FreezeCommissionResponse>, Error> {
    let id = withdrawal_id(&request.withdrawal_id)?;
    let user_id: UserId = request.user_id.parse().map_err(|source| Error::Id {
        field: "user_id",
        source,
    })?;
    let invalid = |field, problem| Error::Invalid { field, problem };
    let amount = Amount::new(request.amount).ok_or(invalid("amount", "must be 1 to 10,000,000,000"))?;
    let channel = Channel::from_message(request.channel()).ok_or(invalid("channel", "must be a channel"))?;
    app.provider(channel)?;

    let available = commission::lock(conn, user_id)
        .await?
        .map_or(0, |account| account.available);
    if available < amount.minor() {
        return Err(Error::CommissionShort {
            wanted: amount.minor(),
            available,
        });
    }
    if !payees::take(conn, id).await? {
        // It was never begun here, or so long ago that its recipient was forgotten.
        return Err(invalid(
            "withdrawal_id",
            "must be of a withdrawal that was begun here",
        ));
    }
    let withdrawal_no = number(WITHDRAWAL, id.uuid());
    let new = NewWithdrawal {
        id,
        withdrawal_no: &withdrawal_no,
        user_id,
        channel,
        amount,
        saga_id: call.saga_id,
    };
    if !withdrawals::insert(conn, &new).await? {
        return Err(Error::Mismatch("withdrawal"));
    }
    let entry = NewEntry {
        user_id,
        movement: Movement::Frozen,
        amount,
        withdrawal_id: Some(id),
        credit_id: None,
        note: None,
    };
    if !commission::book(conn, &entry).await? {
        return Err(Error::Broken("a new withdrawal was frozen before"));
    }
    Ok(Done::Reply(pb::FreezeCommissionResponse { withdrawal_no }))
}
