//! What becomes of an order when its payments are settled. Called under the order's lock.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::cancel::finish_cancel;
use crate::error::Error;
use crate::store::orders::{self, Order};
use crate::store::payments::Payment;

/// The order was paid by this payment. It is PENDING, and a cancellation that was under way is over.
pub(crate) async fn paid(
    conn: &mut PgConnection,
    order: &Order,
    payment: &Payment,
    paid_at: DateTime<Utc>,
) -> Result<(), Error> {
    if !orders::pay(conn, order.id, paid_at).await? {
        return Err(Error::Broken("an order that is locked was paid by somebody else"));
    }
    tracing::info!(order_id = %order.id, payment_id = %payment.id, "an order was paid");
    Ok(())
}

/// A payment of the order has ended unpaid. An order that is being cancelled is CANCELLED with the last of them.
pub(crate) async fn closed(conn: &mut PgConnection, order: &Order) -> Result<(), Error> {
    finish_cancel(conn, order).await.map(|_| ())
}
