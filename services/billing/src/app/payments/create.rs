//! A user pays for an order.

use ids::{OrderId, PaymentId, SagaId, UserId};
use proto::billing::v1 as pb;
use uuid::Uuid;

use super::record::payable;
use crate::app::{App, Begin, begin};
use crate::domain::{Amount, Channel};
use crate::error::Error;
use crate::store;
use crate::store::orders::Order;
use crate::store::payments::Payment;

/// Ids of payments are derived from whose they are and the request in here.
const PAYMENTS: Uuid = Uuid::from_u128(0x2f9a_61c4_7b30_4c1e_8e55_0d6b_9a41_77f3);

/// A payment that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Create {
    /// Number or id of the order.
    pub(crate) order: String,
    pub(crate) amount: Amount,
    pub(crate) channel: Channel,
    pub(crate) request_id: String,
}

/// Starts the saga PAYMENT, and waits until there is something to scan. The same request is the same payment. `of`: whose
/// order it must be.
pub(crate) async fn create_payment(
    app: &App,
    of: Option<UserId>,
    wanted: &Create,
) -> Result<(SagaId, Payment), Error> {
    let order = find_order(app, of, &wanted.order).await?;
    let payment_id = PaymentId::derived(PAYMENTS, &format!("{}/{}", order.user_id, wanted.request_id));
    match store::payments::find(&app.pool, payment_id).await? {
        Some(known) => {
            let same = known.order_id == order.id
                && known.amount == wanted.amount.minor()
                && known.channel == wanted.channel;
            if !same {
                return Err(Error::Mismatch("payment"));
            }
            if known.payment_url.is_some() {
                return Ok((known.saga_id, known));
            }
            // The saga knows what became of it, also if that was a refusal.
        }
        None => check(app, &order, wanted).await?,
    }
    let input = pb::PaymentInput {
        payment_id: payment_id.to_string(),
        user_id: order.user_id.to_string(),
        order_id: order.id.to_string(),
        amount: wanted.amount.minor(),
        channel: pb::Channel::from(wanted.channel).into(),
    };
    let saga = Begin {
        saga: "PAYMENT",
        business_id: payment_id.to_string(),
        input_type: "evenkeel.billing.v1.PaymentInput",
        input: &input,
        user_id: order.user_id,
        what: "payment",
    };
    let (saga_id, _) = begin(app, &saga, Some("CALL_PAYMENT_CHANNEL")).await?;
    let made = store::payments::find(&app.pool, payment_id).await?;
    Ok((saga_id, made.ok_or(Error::Broken("a saga without its payment"))?))
}

async fn find_order(app: &App, of: Option<UserId>, named: &str) -> Result<Order, Error> {
    let id = match named.parse::<OrderId>() {
        Ok(id) => Some(id),
        Err(_) => store::orders::id_of_number(&app.pool, named).await?,
    };
    let found = match id {
        Some(id) => store::orders::find(&app.pool, id).await?,
        None => None,
    };
    found
        .filter(|order| of.is_none_or(|user_id| user_id == order.user_id))
        .ok_or(Error::NoOrder)
}

/// Looks whether it can be done at all, so that no saga is begun for nothing. The saga's first step decides.
async fn check(app: &App, order: &Order, wanted: &Create) -> Result<(), Error> {
    app.provider(wanted.channel)?;
    let in_time = store::orders::is_in_time(&app.pool, order.id).await?;
    payable(order, in_time, order.user_id, wanted.amount.minor())?;
    match store::payments::open_of(&app.pool, order.id, wanted.channel).await? {
        Some(open) => Err(Error::PaymentOpen(open)),
        None => Ok(()),
    }
}
