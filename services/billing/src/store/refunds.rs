//! The table `refunds`.

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::{Channel, Machine as _, OrderStatus, RefundCause, RefundStatus};
use crate::store::payments::Payment;

/// A refund.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) id: RefundId,
    pub(crate) refund_no: String,
    pub(crate) payment_id: PaymentId,
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: RefundStatus,
    pub(crate) cause: RefundCause,
    pub(crate) reason: String,
    pub(crate) provider_refund_no: Option<String>,
    /// When the provider was heard to have taken it.
    pub(crate) taken_at: Option<DateTime<Utc>>,
    /// Why it is CLOSED, ABNORMAL or FAILED; while it is PROCESSING, the refusal that has to be heard once more.
    pub(crate) error: Option<String>,
    pub(crate) saga_id: SagaId,
    /// True once the payment has taken it into account.
    pub(crate) booked: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Refund {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let cause: &str = row.try_get("cause")?;
        Ok(Self {
            id: row::id(row, "id")?,
            refund_no: row.try_get("refund_no")?,
            payment_id: row::id(row, "payment_id")?,
            order_id: row::id(row, "order_id")?,
            user_id: row::id(row, "user_id")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            status: row::status(row)?,
            cause: RefundCause::from_name(cause)
                .ok_or_else(|| row::decode(format!("no cause of refunds is named {cause:?}")))?,
            reason: row.try_get("reason")?,
            provider_refund_no: row.try_get("provider_refund_no")?,
            taken_at: row.try_get("taken_at")?,
            error: row.try_get("error")?,
            saga_id: row::id(row, "saga_id")?,
            booked: row.try_get("booked")?,
            created_at: row.try_get("created_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

/// Finds a refund.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query_as("select * from refunds where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds a refund and locks it until the end of the transaction. Its order and payment are to be locked before.
pub(crate) async fn lock(conn: &mut PgConnection, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query_as("select * from refunds where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// A refund with what its provider knows of its payment.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) refund: Refund,
    pub(crate) channel: Channel,
    /// The number of the payment at the channel.
    pub(crate) channel_order_no: String,
    /// Minor units of the whole payment.
    pub(crate) paid: i64,
}

impl FromRow<'_, PgRow> for Known {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            refund: Refund::from_row(row)?,
            channel: row::channel(row)?,
            channel_order_no: row.try_get("channel_order_no")?,
            paid: row.try_get("paid")?,
        })
    }
}

/// Finds a refund with its payment's number.
pub(crate) async fn find_known(db: impl PgExecutor<'_>, id: RefundId) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as(
        "select r.*, p.channel, p.channel_order_no, p.amount as paid
         from refunds r join payments p on p.id = r.payment_id where r.id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(db)
    .await
}

/// Finds a refund by its number, with its payment's, and locks the refund until the end of the transaction.
pub(crate) async fn lock_by_no(conn: &mut PgConnection, number: &str) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as(
        "select r.*, p.channel, p.channel_order_no, p.amount as paid
         from refunds r join payments p on p.id = r.payment_id where r.refund_no = $1 for update of r",
    )
    .bind(number)
    .fetch_optional(conn)
    .await
}

/// Finds a refund with its payment's number, and locks the refund until the end of the transaction.
pub(crate) async fn lock_known(conn: &mut PgConnection, id: RefundId) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as(
        "select r.*, p.channel, p.channel_order_no, p.amount as paid
         from refunds r join payments p on p.id = r.payment_id where r.id = $1 for update of r",
    )
    .bind(id.uuid())
    .fetch_optional(conn)
    .await
}

/// Lists the refunds of a payment, oldest first; there are at most 50.
pub(crate) async fn of_payment(
    db: impl PgExecutor<'_>,
    payment_id: PaymentId,
) -> Result<Vec<Refund>, sqlx::Error> {
    sqlx::query_as("select * from refunds where payment_id = $1 order by created_at, id limit 50")
        .bind(payment_id.uuid())
        .fetch_all(db)
        .await
}

/// A payment with where its order stands.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    pub(crate) payment: Payment,
    pub(crate) order: OrderStatus,
    /// Whether there is the refund that was looked for.
    pub(crate) has_refund: bool,
}

impl FromRow<'_, PgRow> for Basis {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let name: &str = row.try_get("order_status")?;
        Ok(Self {
            payment: Payment::from_row(row)?,
            order: OrderStatus::from_name(name)
                .ok_or_else(|| row::decode(format!("no status of orders is named {name:?}")))?,
            has_refund: row.try_get("has_refund")?,
        })
    }
}

/// Finds what decides about a refund, without a lock, and whether the refund is there already: one look, since callers wait
/// for it.
pub(crate) async fn find_basis(
    db: impl PgExecutor<'_>,
    payment_id: PaymentId,
    refund_id: RefundId,
) -> Result<Option<Basis>, sqlx::Error> {
    sqlx::query_as(
        "select p.*, o.status as order_status, exists (select 1 from refunds where id = $2) as has_refund
         from payments p join orders o on o.id = p.order_id where p.id = $1",
    )
    .bind(payment_id.uuid())
    .bind(refund_id.uuid())
    .fetch_optional(db)
    .await
}

/// A refund to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewRefund<'a> {
    pub(crate) id: RefundId,
    pub(crate) refund_no: &'a str,
    pub(crate) payment: &'a Payment,
    pub(crate) amount: i64,
    pub(crate) cause: RefundCause,
    pub(crate) reason: &'a str,
    pub(crate) requested_by: &'a str,
    pub(crate) saga_id: SagaId,
}

/// Writes a refund, PENDING. None if there is one of the id.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &NewRefund<'_>,
) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query_as(
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, cause, reason,
                              requested_by, saga_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict on constraint refunds_pkey do nothing
         returning *",
    )
    .bind(new.id.uuid())
    .bind(new.refund_no)
    .bind(new.payment.id.uuid())
    .bind(new.payment.order_id.uuid())
    .bind(new.payment.user_id.uuid())
    .bind(new.amount)
    .bind(&new.payment.currency)
    .bind(new.cause.name())
    .bind(new.reason)
    .bind(new.requested_by)
    .bind(new.saga_id.uuid())
    .fetch_optional(conn)
    .await
}

/// Makes a refund PROCESSING: the provider may be called from now on. False if it is not PENDING.
pub(crate) async fn begin(conn: &mut PgConnection, id: RefundId, step: &str) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "update refunds set status = 'PROCESSING', saga_step = $2, updated_at = clock_timestamp()
         where id = $1 and status = 'PENDING'",
    )
    .bind(id.uuid())
    .bind(step)
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Writes that the provider has taken a refund; what it had said before does not matter any more.
pub(crate) async fn taken(
    conn: &mut PgConnection,
    id: RefundId,
    provider_refund_no: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds
         set taken_at = coalesce(taken_at, clock_timestamp()),
             provider_refund_no = coalesce(provider_refund_no, $2),
             error = case status when 'PROCESSING' then null else error end,
             updated_at = clock_timestamp()
         where id = $1 and status in ('PROCESSING', 'ABNORMAL')",
    )
    .bind(id.uuid())
    .bind(provider_refund_no)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a refusal in mind, or forgets it, while the refund is PROCESSING.
pub(crate) async fn remember_refusal(
    conn: &mut PgConnection,
    id: RefundId,
    refusal: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update refunds set error = $2, updated_at = clock_timestamp() where id = $1 and status = 'PROCESSING'",
    )
    .bind(id.uuid())
    .bind(refusal)
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes the status of a refund. An end is given its time: that of the provider, or now. False if the status was not
/// `from`.
pub(crate) async fn change(
    conn: &mut PgConnection,
    id: RefundId,
    (from, to): (RefundStatus, RefundStatus),
    error: Option<&str>,
    at: Option<DateTime<Utc>>,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(
        "update refunds
         set status = $3, error = $4, updated_at = clock_timestamp(),
             ended_at = case when $3 in ('SUCCEEDED', 'CLOSED', 'FAILED') then coalesce($5, clock_timestamp()) end
         where id = $1 and status = $2",
    )
    .bind(id.uuid())
    .bind(from.name())
    .bind(to.name())
    .bind(error)
    .bind(at)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// What a provider says of a refund that it has taken.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) provider_refund_no: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    /// When it ended there.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// As [`change`], on the word of a provider: so it has taken the refund, as [`taken`] would write.
pub(crate) async fn heard(
    conn: &mut PgConnection,
    id: RefundId,
    (from, to): (RefundStatus, RefundStatus),
    heard: &Heard<'_>,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(
        "update refunds
         set status = $3, error = $4, updated_at = clock_timestamp(),
             taken_at = coalesce(taken_at, clock_timestamp()),
             provider_refund_no = coalesce(provider_refund_no, $6),
             ended_at = case when $3 in ('SUCCEEDED', 'CLOSED', 'FAILED') then coalesce($5, clock_timestamp()) end
         where id = $1 and status = $2",
    )
    .bind(id.uuid())
    .bind(from.name())
    .bind(to.name())
    .bind(heard.error)
    .bind(heard.at)
    .bind(heard.provider_refund_no)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Writes that the payment has taken a refund into account. False if it had before.
pub(crate) async fn book(
    conn: &mut PgConnection,
    id: RefundId,
    provider_refund_no: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let booked = sqlx::query(
        "update refunds
         set booked = true, provider_refund_no = coalesce(provider_refund_no, $2), updated_at = clock_timestamp()
         where id = $1 and status = 'SUCCEEDED' and not booked",
    )
    .bind(id.uuid())
    .bind(provider_refund_no)
    .execute(conn)
    .await?;
    Ok(booked.rows_affected() == 1)
}
