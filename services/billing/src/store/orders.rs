//! The table `orders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::{Cancelling, OrderStatus};

/// An order.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) order_number: String,
    pub(crate) user_id: UserId,
    pub(crate) plan_id: String,
    pub(crate) plan_version: i32,
    pub(crate) device_id: Option<String>,
    pub(crate) amount: i64,
    pub(crate) final_amount: i64,
    pub(crate) refunded_amount: i64,
    pub(crate) currency: String,
    pub(crate) status: OrderStatus,
    /// Why its payments are being closed: USER, EXPIRED, SAGA.
    pub(crate) cancelling: Option<String>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) saga_id: SagaId,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) cancelled_at: Option<DateTime<Utc>>,
    pub(crate) refunded_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Order {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            order_number: row.try_get("order_number")?,
            user_id: row::id(row, "user_id")?,
            plan_id: row.try_get("plan_id")?,
            plan_version: row.try_get("plan_version")?,
            device_id: row.try_get("device_id")?,
            amount: row.try_get("amount")?,
            final_amount: row.try_get("final_amount")?,
            refunded_amount: row.try_get("refunded_amount")?,
            currency: row.try_get("currency")?,
            status: row::status(row)?,
            cancelling: row.try_get("cancelling")?,
            cancel_reason: row.try_get("cancel_reason")?,
            saga_id: row::id(row, "saga_id")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            paid_at: row.try_get("paid_at")?,
            completed_at: row.try_get("completed_at")?,
            cancelled_at: row.try_get("cancelled_at")?,
            refunded_at: row.try_get("refunded_at")?,
        })
    }
}

/// Finds an order.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds an order and locks it until the end of the transaction.
pub(crate) async fn lock(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// An order to be made.
#[derive(Debug)]
pub(crate) struct NewOrder<'a> {
    pub(crate) id: OrderId,
    pub(crate) order_number: &'a str,
    pub(crate) user_id: UserId,
    pub(crate) plan_id: &'a str,
    pub(crate) plan_version: i32,
    pub(crate) amount: i64,
    pub(crate) currency: &'a str,
    pub(crate) saga_id: SagaId,
    pub(crate) pay_within: Duration,
}

/// Makes an order. `None` if there is one of this id.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &NewOrder<'_>,
) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as(
        "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency, saga_id,
             expires_at)
         values ($1, $2, $3, $4, $5, $6, $6, $7, $8, clock_timestamp() + make_interval(secs => $9))
         on conflict on constraint orders_pkey do nothing
         returning *",
    )
    .bind(new.id.uuid())
    .bind(new.order_number)
    .bind(new.user_id.uuid())
    .bind(new.plan_id)
    .bind(new.plan_version)
    .bind(new.amount)
    .bind(new.currency)
    .bind(new.saga_id.uuid())
    .bind(new.pay_within.as_secs_f64())
    .fetch_optional(conn)
    .await
}

/// Returns a user's orders in one of `statuses` (all if empty), newest first: `limit` of them, from below the order `before`.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    statuses: &[&str],
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as(
        "select * from orders
         where user_id = $1 and (cardinality($2::text[]) = 0 or status = any($2))
           and ($3::uuid is null or (created_at, id) < (select created_at, id from orders where id = $3))
         order by created_at desc, id desc limit $4",
    )
    .bind(user_id.uuid())
    .bind(statuses)
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Writes which device the order got. False if it is over.
pub(crate) async fn set_device(
    conn: &mut PgConnection,
    id: OrderId,
    device_id: &str,
) -> Result<bool, sqlx::Error> {
    let set = sqlx::query(
        "update orders set device_id = $2, updated_at = clock_timestamp()
         where id = $1 and status in ('PENDING', 'PAID')",
    )
    .bind(id.uuid())
    .bind(device_id)
    .execute(conn)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Writes that an order is to be cancelled. False if it is not PENDING.
pub(crate) async fn begin_cancel(
    conn: &mut PgConnection,
    id: OrderId,
    cancelling: Cancelling,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "update orders set cancelling = $2, cancelling_reason = $3, updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(cancelling.name())
    .bind(reason)
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Cancels an order that is being cancelled and has no open payment. Returns the reason; `None` if it is not so.
pub(crate) async fn finish_cancel(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update orders o
         set status = 'CANCELLED', cancel_reason = coalesce(cancelling_reason, cancelling), cancelling = null,
             cancelling_reason = null, cancelled_at = clock_timestamp(), updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING' and cancelling is not null
           and not exists (select 1 from payments p where p.order_id = o.id and p.status = 'PENDING')
         returning cancel_reason",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}

/// Completes a paid order. Returns when that was; `None` if it is not PAID.
pub(crate) async fn complete(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(
        "update orders set status = 'COMPLETED', completed_at = clock_timestamp(), updated_at = clock_timestamp()
         where id = $1 and status = 'PAID'
         returning completed_at",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}

/// Where a scan of orders that are over goes on.
pub(crate) type Place = (DateTime<Utc>, OrderId);

/// Returns open orders whose time to be paid is over, from behind a place.
pub(crate) async fn overdue(
    db: impl PgExecutor<'_>,
    (at, id): Place,
    limit: i64,
) -> Result<Vec<Place>, sqlx::Error> {
    let rows: Vec<(DateTime<Utc>, Uuid)> = sqlx::query_as(
        "select expires_at, id from orders
         where status = 'PENDING' and cancelling is null and expires_at <= statement_timestamp()
           and (expires_at, id) > ($1, $2)
         order by expires_at, id limit $3",
    )
    .bind(at)
    .bind(id.uuid())
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(at, id)| (at, OrderId::from_uuid(id)))
        .collect())
}

/// Tells whether an order is open, not being cancelled, and its time to be paid is over by the database's clock. The order
/// is to be locked before.
pub(crate) async fn is_overdue(conn: &mut PgConnection, id: OrderId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
            select 1 from orders
            where id = $1 and status = 'PENDING' and cancelling is null and expires_at <= clock_timestamp()
         )",
    )
    .bind(id.uuid())
    .fetch_one(conn)
    .await
}

/// Returns orders that are being cancelled and have no open payment left, above an id.
pub(crate) async fn cancellable(
    db: impl PgExecutor<'_>,
    above: OrderId,
    limit: i64,
) -> Result<Vec<OrderId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from orders o
         where status = 'PENDING' and cancelling is not null and id > $1
           and not exists (select 1 from payments p where p.order_id = o.id and p.status = 'PENDING')
         order by id limit $2",
    )
    .bind(above.uuid())
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(OrderId::from_uuid).collect())
}

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
        "update orders set status = 'PAID', paid_at = $2, cancelling = null, cancelling_reason = null,
             updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(paid_at)
    .execute(conn)
    .await?;
    Ok(paid.rows_affected() == 1)
}

/// Finds the order of a refund and locks it until the end of the transaction. Whose refund it is never changes.
pub(crate) async fn lock_of_refund(
    conn: &mut PgConnection,
    id: RefundId,
) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as(
        "select o.* from orders o join refunds r on r.order_id = o.id where r.id = $1 for update of o",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
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
