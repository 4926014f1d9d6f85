//! The table `payments`, as orders see it.

use ids::{OrderId, PaymentId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor};

use super::payments::Payment;
use super::row;
use crate::domain::Channel;

/// Writes of the open payments of an order that they are to be closed. Returns all that are being closed. The order is to be
/// locked before.
pub(crate) async fn begin_close(
    conn: &mut PgConnection,
    order_id: OrderId,
) -> Result<Vec<(PaymentId, Channel)>, sqlx::Error> {
    let rows: Vec<PgRow> = sqlx::query(
        "update payments set closing = coalesce(closing, 'ORDER'), updated_at = clock_timestamp()
         where order_id = $1 and status = 'PENDING'
         returning id, channel",
    )
    .bind(order_id.uuid())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row::id(row, "id")?, row::channel(row)?)))
        .collect()
}

/// Finds the payment by which an order was paid; it may have been given back since.
pub(crate) async fn paid(db: impl PgExecutor<'_>, order_id: OrderId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select * from payments
         where order_id = $1 and status in ('SUCCESS', 'REFUNDING', 'REFUNDED') and not late",
    )
    .bind(order_id.uuid())
    .fetch_optional(db)
    .await
}
