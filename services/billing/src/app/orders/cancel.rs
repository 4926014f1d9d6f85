//! Cancelling orders that are not paid: the payments are closed first, at their providers.
//!
//! Lock order: the order, its payments, their checks.

use ids::{OrderId, UserId};
use serde_json::json;
use sqlx::PgConnection;

use super::super::{App, Changed};
use crate::domain::{Cancelling, Machine as _, OrderStatus};
use crate::error::Error;
use crate::events::tell;
use crate::store::checks::{self, Subject};
use crate::store::order_payments;
use crate::store::orders::{self, Order};

/// Begins to cancel a PENDING order, which is locked: its open payments are to be closed. True if that was the end of it,
/// since there were none.
///
/// An order is given to the saga even if somebody else is cancelling it: only then no payment is taken any more.
pub(super) async fn begin(
    app: &App,
    conn: &mut PgConnection,
    order: &Order,
    cancelling: Cancelling,
    reason: &str,
) -> Result<bool, Error> {
    if !orders::begin_cancel(conn, order.id, cancelling, reason).await? {
        return Err(Error::Broken("an order that is not open is being cancelled"));
    }
    for (payment_id, channel) in order_payments::begin_close(conn, order.id).await? {
        checks::due(conn, Subject::Payment, payment_id.uuid(), channel).await?;
    }
    if finish_cancel(conn, order).await? {
        return Ok(true);
    }
    // Before the commit: if the hint is too early, the next scan finds it.
    app.due.notify_one();
    Ok(false)
}

/// Cancels an order that is being cancelled, once no payment of it is open; tells it then. False if it is not so (yet).
///
/// The order is locked, and so are its payments that this transaction has changed. Call it whenever one of them was closed or
/// has failed.
pub(crate) async fn finish_cancel(conn: &mut PgConnection, order: &Order) -> Result<bool, Error> {
    let Some(reason) = orders::finish_cancel(conn, order.id).await? else {
        return Ok(false);
    };
    let data = json!({
        "orderId": order.id.to_string(),
        "userId": order.user_id.to_string(),
        "reason": reason,
    });
    tell(conn, "order.cancelled", order.id.to_string(), data).await?;
    Ok(true)
}

/// Cancels an order for its buyer, or begins to. `confined_to` is the only user whose orders the caller may touch.
pub(crate) async fn cancel_order(
    app: &App,
    order_id: OrderId,
    confined_to: Option<UserId>,
    reason: &str,
) -> Result<Order, Error> {
    let order = App::transaction(&app.pool, async |conn| {
        let order = orders::lock(conn, order_id)
            .await?
            .filter(|order| confined_to.is_none_or(|user_id| order.user_id == user_id))
            .ok_or(Error::NoOrder)?;
        match order.status {
            OrderStatus::Cancelled => return Ok(order),
            OrderStatus::Pending if order.cancelling.is_some() => return Ok(order),
            OrderStatus::Pending => {}
            OrderStatus::Paid | OrderStatus::Completed | OrderStatus::Refunded => {
                return Err(Error::NotCancellable(order.status.name()));
            }
        }
        let reason = if reason.is_empty() {
            Cancelling::User.name()
        } else {
            reason
        };
        begin(app, conn, &order, Cancelling::User, reason).await?;
        orders::find(&mut *conn, order_id)
            .await?
            .ok_or(Error::Broken("an order that was cancelled is not there"))
    })
    .await?;
    app.due.notify_one();
    if order.status == OrderStatus::Cancelled {
        app.hints.leave(Changed::Order(order_id));
    }
    Ok(order)
}
