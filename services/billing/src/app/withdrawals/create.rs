//! Begins a withdrawal.

use ids::{SagaId, UserId, WithdrawalId};
use proto::billing::v1 as pb;
use uuid::{Uuid, uuid};

use super::super::{App, Begin, begin};
use super::payee::{self, Payee};
use crate::domain::{Amount, Channel};
use crate::error::Error;
use crate::store::withdrawals::Withdrawal;
use crate::store::{commission, withdrawals};

/// Namespace of the ids of withdrawals, which follow from `<user id>/<request id>`.
const NAMESPACE: Uuid = uuid!("5f1d3a84-8f0e-4b0b-9a62-6f3c5b6d7e21");
/// The step after which the amount is frozen.
const STEP: &str = "COMMISSION";

/// A withdrawal that a user wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) user_id: UserId,
    pub(crate) amount: Amount,
    pub(crate) channel: Channel,
    pub(crate) payee: Payee,
    pub(crate) request_id: String,
}

/// Starts the saga, or finds the one started before, and waits until the amount is frozen. There is no withdrawal if that
/// takes longer.
pub(crate) async fn create(app: &App, wish: &Wish) -> Result<(SagaId, Option<Withdrawal>), Error> {
    let id = WithdrawalId::derived(NAMESPACE, &format!("{}/{}", wish.user_id, wish.request_id));
    // Read before the withdrawal: if this one is frozen already, the next read finds it.
    let account = commission::find(&app.pool, wish.user_id).await?;
    if let Some(known) = withdrawals::find(&app.pool, id).await? {
        return same(app, known, wish).await;
    }
    app.provider(wish.channel)?;
    let available = account.map_or(0, |account| account.available);
    if available < wish.amount.minor() {
        return Err(Error::CommissionShort {
            wanted: wish.amount.minor(),
            available,
        });
    }
    payee::keep(app, id, &wish.payee).await?;
    let input = pb::WithdrawalInput {
        withdrawal_id: id.to_string(),
        user_id: wish.user_id.to_string(),
        amount: wish.amount.minor(),
        channel: pb::Channel::from(wish.channel).into(),
    };
    let wanted = Begin {
        saga: "WITHDRAWAL",
        business_id: id.to_string(),
        input_type: "evenkeel.billing.v1.WithdrawalInput",
        input: &input,
        user_id: wish.user_id,
        what: "withdrawal",
    };
    match begin(app, &wanted, Some(STEP)).await {
        Ok((saga_id, _)) => {
            let row = withdrawals::find(&app.pool, id).await?;
            let row = row.ok_or(Error::Broken("a frozen withdrawal is not there"))?;
            Ok((saga_id, Some(row)))
        }
        Err(Error::NotYet) => {
            let (saga_id, _) = begin(app, &wanted, None).await?;
            Ok((saga_id, None))
        }
        Err(error) => Err(error),
    }
}

/// Answers a repeated request from the row it has made.
async fn same(app: &App, known: Withdrawal, wish: &Wish) -> Result<(SagaId, Option<Withdrawal>), Error> {
    let is_same = (known.amount, known.channel) == (wish.amount, wish.channel)
        && payee::is_for(app, known.id, &wish.payee).await?;
    if is_same {
        Ok((known.saga_id, Some(known)))
    } else {
        Err(Error::Mismatch("withdrawal"))
    }
}
