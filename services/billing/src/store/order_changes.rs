//! What payments do to the table `orders`, and read of it.

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::orders::Order;

/// Finds an order by its number.
pub(crate) async fn id_of_number(
    db: impl PgExecutor<'_>,
    number: &str,
) -> Result<Option<OrderId>, sqlx::Error> {
    let id: Option<Uuid> = sqlx::query_scalar("select id from orders where order_number = $1")
        .bind(number)
        .fetch_optional(db)
        .await?;
    Ok(id.map(OrderId::from_uuid))
}

/// Finds the order of a payment and locks it until the end of the transaction. What a payment is for never changes.
pub(crate) async fn lock_of_payment(
    conn: &mut PgConnection,
    id: PaymentId,
) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as(
        "select o.* from orders o join payments p on p.order_id = o.id where p.id = $1 for update of o",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}

/// Returns the title of what is bought. It never changes: versions of plans are append-only.
pub(crate) async fn title(db: impl PgExecutor<'_>, id: OrderId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select v.title from orders o
         join plan_versions v on v.plan_id = o.plan_id and v.version = o.plan_version
         where o.id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(db)
    .await
}

/// Tells whether an order can still be paid as far as its time goes, by the database's clock.
pub(crate) async fn is_in_time(db: impl PgExecutor<'_>, id: OrderId) -> Result<bool, sqlx::Error> {
    let in_time: Option<bool> =
        sqlx::query_scalar("select expires_at > clock_timestamp() from orders where id = $1")
            .bind(id.uuid())
            .fetch_optional(db)
            .await?;
    Ok(in_time.unwrap_or_default())
}

/// The order was paid, whatever was under way to cancel it. False if it is not PENDING.
pub(crate) async fn pay(
    conn: &mut PgConnection,
    id: OrderId,
    paid_at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let paid = sqlx::query(
        "update orders set status = 'PAID', paid_at = $2, cancelling = null, updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(paid_at)
    .execute(conn)
    .await?;
    Ok(paid.rows_affected() == 1)
}

/// Cancels an order that is to be cancelled and has no open payment left. Returns the reason, or `None` if it is not so.
pub(crate) async fn cancel(conn: &mut PgConnection, id: OrderId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update orders o
         set status = 'CANCELLED', cancel_reason = cancelling, cancelled_at = clock_timestamp(),
             updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING' and cancelling is not null
           and not exists (select 1 from payments p where p.order_id = o.id and p.status = 'PENDING')
         returning cancel_reason",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}
