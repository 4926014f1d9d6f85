//! Refunds: money that goes back.
//!
//! A refund is made, under a number for the provider, by SET_REFUNDING_STATUS; its payment is REFUNDING from then on, so a
//! payment has one at a time. CALL_PROVIDER_REFUND makes it PROCESSING and leaves the provider to the checks, which ask
//! until the provider has said yes or no. Yes is booked by the steps that follow; no is undone by RESTORE_PAID_STATUS.
//! Whatever takes longer than `case_after` is shown to a person ([`watch`]).
//!
//! Locks: the order, the payment, the refund, then its check. What only a provider's answer changes is the refund alone.

mod apply;
mod call;
mod check;
mod create;
mod mark;
mod read;
mod restore;
mod set;
mod settle;
#[cfg(test)]
mod tests;
mod watch;

use ids::RefundId;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::domain::{OrderStatus, Standing};
use crate::error::Error;
use crate::events;
use crate::store::orders::{self, Order};
use crate::store::payments::{self, Payment};
use crate::store::refunds::{self, Refund};

pub(crate) use apply::{Applied, apply};
pub(crate) use call::call_provider_refund;
pub(crate) use check::check;
pub(crate) use create::{Caller, Wish, create_refund};
pub(crate) use mark::{mark_order_refunded, mark_payment_refunded};
pub(crate) use read::{get_refund, list_refunds};
pub(crate) use restore::restore_paid_status;
pub(crate) use set::set_refunding_status;
pub(crate) use settle::settle_by_person;
pub(crate) use watch::watch;

/// What the payer reads if there is no reason that a provider takes: "refund".
const NO_REASON: &str = "退款";

/// A refund with its payment and order, all three locked.
struct Locked {
    order: Order,
    payment: Payment,
    refund: Refund,
}

/// Locks a refund's order, its payment, and itself, in this order.
async fn lock(conn: &mut PgConnection, id: RefundId) -> Result<Locked, Error> {
    // Which order and payment it is of never changes.
    let order = orders::lock_of_refund(conn, id).await?.ok_or(Error::NoRefund)?;
    let payment = payments::lock_of_refund(conn, id)
        .await?
        .ok_or(Error::Broken("a refund without a payment"))?;
    let refund = refunds::lock(conn, id).await?.ok_or(Error::NoRefund)?;
    Ok(Locked {
        order,
        payment,
        refund,
    })
}

/// What decides whether a payment can be refunded.
fn standing(payment: &Payment, order: OrderStatus) -> Standing {
    Standing {
        status: payment.status,
        late: payment.late,
        order,
        amount: payment.amount,
        refunded: payment.refunded_amount,
        refunds: payment.refunds,
    }
}

/// Fails if a guarded update found the row in another status than its lock had shown.
fn held(changed: bool) -> Result<(), Error> {
    if changed {
        Ok(())
    } else {
        Err(Error::Broken("a row has changed under its lock"))
    }
}

async fn tell(conn: &mut PgConnection, topic: &'static str, refund: &Refund) -> Result<(), Error> {
    events::tell(conn, topic, refund.order_id.to_string(), fact(refund)).await
}

fn fact(refund: &Refund) -> Value {
    json!({
        "refundId": refund.id.to_string(),
        "paymentId": refund.payment_id.to_string(),
        "orderId": refund.order_id.to_string(),
        "userId": refund.user_id.to_string(),
        "amount": refund.amount,
        "cause": refund.cause.name(),
    })
}
