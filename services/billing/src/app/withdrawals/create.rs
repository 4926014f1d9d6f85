//! Begins a withdrawal.

use std::time::Duration;

use ids::{SagaId, UserId, WithdrawalId};
use proto::billing::v1 as pb;
use uuid::{Uuid, uuid};

use super::super::{App, Begin, begin};
use super::sealed::{Payee, Sealed};
use crate::domain::{Amount, Channel};
use crate::error::Error;
use crate::store::withdrawals::Withdrawal;
use crate::store::{commission, withdrawals};

/// Namespace of the ids of withdrawals, which follow from `<user id>/<request id>`.
const NAMESPACE: Uuid = uuid!("5f1d3a84-8f0e-4b0b-9a62-6f3c5b6d7e21");
/// Pause between two looks for a row.
const LOOK: Duration = Duration::from_millis(50);
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
        return same(known, wish);
    }
    app.provider(wish.channel)?;
    let available = account.map_or(0, |account| account.available);
    if available < wish.amount.minor() {
        return Err(Error::CommissionShort {
            wanted: wish.amount.minor(),
            available,
        });
    }
    let input = pb::WithdrawalInput {
        withdrawal_id: id.to_string(),
        user_id: wish.user_id.to_string(),
        amount: wish.amount.minor(),
        channel: pb::Channel::from(wish.channel).into(),
        recipient_sealed: Sealed::seal(&wish.payee)?.0.into(),
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
        // The request id stands for other content; or for the same, which was sealed to other bytes. The row knows.
        Err(Error::Mismatch(what)) => match until_frozen(app, id).await? {
            Some(known) => same(known, wish),
            None => Err(Error::Mismatch(what)),
        },
        Err(error) => Err(error),
    }
}

/// Waits, bounded, for the row of a saga that was started before.
async fn until_frozen(app: &App, id: WithdrawalId) -> Result<Option<Withdrawal>, Error> {
    let mut looks = tokio::time::interval(LOOK);
    let found = tokio::time::timeout(app.config.wait, async {
        loop {
            looks.tick().await;
            if let Some(known) = withdrawals::find(&app.pool, id).await? {
                return Ok(known);
            }
        }
    });
    found.await.ok().transpose()
}

/// Answers a repeated request from the row it has made.
fn same(known: Withdrawal, wish: &Wish) -> Result<(SagaId, Option<Withdrawal>), Error> {
    let payee = Sealed(known.recipient_sealed.clone()).open()?;
    if (known.amount, known.channel, &payee) != (wish.amount, wish.channel, &wish.payee) {
        return Err(Error::Mismatch("withdrawal"));
    }
    Ok((known.saga_id, Some(known)))
}
