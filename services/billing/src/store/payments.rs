//! The table `payments`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::orders::Order;
use super::row;
use crate::domain::{Channel, Machine as _, PaymentStatus};

/// A payment.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) payment_no: String,
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) channel: Channel,
    pub(crate) channel_order_no: String,
    pub(crate) provider_no: Option<String>,
    pub(crate) payment_url: Option<String>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded_amount: i64,
    pub(crate) refunds: i32,
    pub(crate) status: PaymentStatus,
    /// Why it is being closed at the channel.
    pub(crate) closing: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) late: bool,
    pub(crate) saga_id: SagaId,
    /// The step whose barrier row guards the call to the channel; absent before it.
    pub(crate) saga_step: Option<String>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Payment {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            payment_no: row.try_get("payment_no")?,
            order_id: row::id(row, "order_id")?,
            user_id: row::id(row, "user_id")?,
            channel: row::channel(row)?,
            channel_order_no: row.try_get("channel_order_no")?,
            provider_no: row.try_get("provider_no")?,
            payment_url: row.try_get("payment_url")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            refunded_amount: row.try_get("refunded_amount")?,
            refunds: row.try_get("refunds")?,
            status: row::status(row)?,
            closing: row.try_get("closing")?,
            reason: row.try_get("reason")?,
            late: row.try_get("late")?,
            saga_id: row::id(row, "saga_id")?,
            saga_step: row.try_get("saga_step")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            paid_at: row.try_get("paid_at")?,
            closed_at: row.try_get("closed_at")?,
        })
    }
}

/// Finds a payment.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: PaymentId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as("select * from payments where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds a payment and locks it until the end of the transaction. Its order is to be locked before.
pub(crate) async fn lock(conn: &mut PgConnection, id: PaymentId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as("select * from payments where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Finds the payment of a refund and locks it until the end of the transaction. Its order is to be locked before.
pub(crate) async fn lock_of_refund(
    conn: &mut PgConnection,
    id: RefundId,
) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select p.* from payments p join refunds r on r.payment_id = p.id where r.id = $1 for update of p",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}

/// A payment, and how long it can still be paid by the database's clock; zero when that is over.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    pub(crate) payment: Payment,
    pub(crate) left: Duration,
}

impl FromRow<'_, PgRow> for Timed {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let left_s: f64 = row.try_get("left_s")?;
        Ok(Self {
            payment: Payment::from_row(row)?,
            left: Duration::try_from_secs_f64(left_s).unwrap_or_default(),
        })
    }
}

/// Finds a payment, with how long it can still be paid.
pub(crate) async fn find_timed(db: impl PgExecutor<'_>, id: PaymentId) -> Result<Option<Timed>, sqlx::Error> {
    sqlx::query_as(
        "select *, extract(epoch from expires_at - clock_timestamp())::float8 as left_s from payments where id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(db)
    .await
}

/// Finds the open payment of an order for a channel.
pub(crate) async fn open_of(
    db: impl PgExecutor<'_>,
    order_id: OrderId,
    channel: Channel,
) -> Result<Option<PaymentId>, sqlx::Error> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "select id from payments where order_id = $1 and channel = $2 and status = 'PENDING'",
    )
    .bind(order_id.uuid())
    .bind(channel.name())
    .fetch_optional(db)
    .await?;
    Ok(id.map(PaymentId::from_uuid))
}

/// Returns the newest `limit` payments of a user, or those older than `before`; perhaps only those of an order.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    order_id: Option<OrderId>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(
        "select * from payments
         where user_id = $1 and ($2::uuid is null or order_id = $2)
           and ($3::uuid is null
                or (created_at, id) < (select b.created_at, b.id from payments b where b.id = $3))
         order by created_at desc, id desc limit $4",
    )
    .bind(user_id.uuid())
    .bind(order_id.map(OrderId::uuid))
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// A payment to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewPayment<'a> {
    pub(crate) id: PaymentId,
    pub(crate) payment_no: &'a str,
    pub(crate) order: &'a Order,
    pub(crate) channel: Channel,
    pub(crate) saga_id: SagaId,
}

/// Makes a payment of the whole order, PENDING until the order expires. False if there is one of this id. The order is to
/// be locked before.
pub(crate) async fn insert(conn: &mut PgConnection, new: &NewPayment<'_>) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency,
                               saga_id, expires_at)
         values ($1, $2, $3, $4, $5, $2, $6, $7, $8, $9)
         on conflict on constraint payments_pkey do nothing",
    )
    .bind(new.id.uuid())
    .bind(new.payment_no)
    .bind(new.order.id.uuid())
    .bind(new.order.user_id.uuid())
    .bind(new.channel.name())
    .bind(new.order.final_amount)
    .bind(&new.order.currency)
    .bind(new.saga_id.uuid())
    .bind(new.order.expires_at)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Writes which step calls the channel. False if the payment is not PENDING.
pub(crate) async fn set_step(
    conn: &mut PgConnection,
    id: PaymentId,
    step: &str,
) -> Result<bool, sqlx::Error> {
    let set = sqlx::query(
        "update payments set saga_step = $2, updated_at = clock_timestamp() where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(step)
    .execute(conn)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Writes what the payer scans. False if that is known, or if the payment cannot be paid any more.
pub(crate) async fn set_url(conn: &mut PgConnection, id: PaymentId, url: &str) -> Result<bool, sqlx::Error> {
    let set = sqlx::query(
        "update payments set payment_url = $2, updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING' and payment_url is null and closing is null",
    )
    .bind(id.uuid())
    .bind(url)
    .execute(conn)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Writes that a payment is to be closed, and why; the first reason stays. False if it is not PENDING.
pub(crate) async fn set_closing(
    conn: &mut PgConnection,
    id: PaymentId,
    why: &str,
) -> Result<bool, sqlx::Error> {
    let set = sqlx::query(
        "update payments set closing = coalesce(closing, $2), updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(why)
    .execute(conn)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Writes that all open payments of an order are to be closed, and why. Returns them. The order is to be locked before.
pub(crate) async fn close_all(
    conn: &mut PgConnection,
    order_id: OrderId,
    why: &str,
) -> Result<Vec<(PaymentId, Channel)>, sqlx::Error> {
    let rows = sqlx::query(
        "update payments set closing = coalesce(closing, $2), updated_at = clock_timestamp()
         where order_id = $1 and status = 'PENDING' returning id, channel",
    )
    .bind(order_id.uuid())
    .bind(why)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row::id(row, "id")?, row::channel(row)?)))
        .collect()
}

/// A payment has ended unpaid: from PENDING to `to`, CLOSED or FAILED. False if it is not PENDING.
pub(crate) async fn end_unpaid(
    conn: &mut PgConnection,
    id: PaymentId,
    to: PaymentStatus,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query(
        "update payments
         set status = $2, reason = $3, closed_at = clock_timestamp(), updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(to.name())
    .bind(reason)
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// A payment was paid; when it was is the database's time if the channel does not say. Returns that, or `None` if the
/// payment was paid before.
pub(crate) async fn set_paid(
    conn: &mut PgConnection,
    id: PaymentId,
    provider_no: Option<&str>,
    paid_at: Option<DateTime<Utc>>,
    late: bool,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(
        "update payments
         set status = 'SUCCESS', provider_no = $2, paid_at = coalesce($3, clock_timestamp()), late = $4,
             reason = null, closed_at = null, updated_at = clock_timestamp()
         where id = $1 and status in ('PENDING', 'CLOSED', 'FAILED') returning paid_at",
    )
    .bind(id.uuid())
    .bind(provider_no)
    .bind(paid_at)
    .bind(late)
    .fetch_optional(conn)
    .await
}
