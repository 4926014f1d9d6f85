//! What refunds change of `payments` and `orders`, and the payments that a refund has left in the middle. All changes are
//! made under the locks of the order and the payment.

use std::time::Duration;

use ids::{OrderId, PaymentId, RefundId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::Channel;

/// Makes a payment REFUNDING, and counts the refund. False if it is not SUCCESS.
pub(crate) async fn begin(conn: &mut PgConnection, id: PaymentId, amount: i64) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "update payments
         set status = 'REFUNDING', refunding_amount = $2, refunds = refunds + 1, updated_at = clock_timestamp()
         where id = $1 and status = 'SUCCESS'",
    )
    .bind(id.uuid())
    .bind(amount)
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Makes a payment SUCCESS again, with nothing under way. False if it is not REFUNDING.
pub(crate) async fn give_up(conn: &mut PgConnection, id: PaymentId) -> Result<bool, sqlx::Error> {
    let given_up = sqlx::query(
        "update payments set status = 'SUCCESS', refunding_amount = 0, updated_at = clock_timestamp()
         where id = $1 and status = 'REFUNDING'",
    )
    .bind(id.uuid())
    .execute(conn)
    .await?;
    Ok(given_up.rows_affected() == 1)
}

/// Books what went back of a payment: REFUNDED if that was the rest, else SUCCESS again. False if this amount was not under
/// way.
pub(crate) async fn book(conn: &mut PgConnection, id: PaymentId, amount: i64) -> Result<bool, sqlx::Error> {
    let booked = sqlx::query(
        "update payments
         set refunded_amount = refunded_amount + $2, refunding_amount = 0, updated_at = clock_timestamp(),
             status = case when refunded_amount + $2 = amount then 'REFUNDED' else 'SUCCESS' end
         where id = $1 and status = 'REFUNDING' and refunding_amount = $2",
    )
    .bind(id.uuid())
    .bind(amount)
    .execute(conn)
    .await?;
    Ok(booked.rows_affected() == 1)
}

/// Copies to an order what went back of its payment: REFUNDED if that is everything. False if it is not PAID or COMPLETED.
///
/// A copy, not an addition: it may be made twice.
pub(crate) async fn copy_to_order(
    conn: &mut PgConnection,
    id: OrderId,
    refunded: i64,
) -> Result<bool, sqlx::Error> {
    let copied = sqlx::query(
        "update orders
         set refunded_amount = $2, updated_at = clock_timestamp(),
             status = case when $2 = final_amount then 'REFUNDED' else status end,
             refunded_at = case when $2 = final_amount then clock_timestamp() end
         where id = $1 and status in ('PAID', 'COMPLETED')",
    )
    .bind(id.uuid())
    .bind(refunded)
    .execute(conn)
    .await?;
    Ok(copied.rows_affected() == 1)
}

/// Returns how much quota an order grants.
pub(crate) async fn quota_of_order(db: impl PgExecutor<'_>, id: OrderId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(sum(quantity), 0)::bigint from order_lines where order_id = $1 and kind = 'QUOTA'",
    )
    .bind(id.uuid())
    .fetch_one(db)
    .await
}

/// A refund that is under way for too long, and nobody was told.
#[derive(Debug, Clone)]
pub(crate) struct Stuck {
    pub(crate) refund_id: RefundId,
    pub(crate) refund_no: String,
    pub(crate) status: String,
    pub(crate) channel: Channel,
    /// What the provider answered last, if that said nothing.
    pub(crate) last_error: Option<String>,
}

impl FromRow<'_, PgRow> for Stuck {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            refund_id: row::id(row, "id")?,
            refund_no: row.try_get("refund_no")?,
            status: row.try_get("status")?,
            channel: row::channel(row)?,
            last_error: row.try_get("last_error")?,
        })
    }
}

/// Finds payments that have been REFUNDING for longer than `after`, for which no case was open in this time. At most 100.
pub(crate) async fn stuck(db: impl PgExecutor<'_>, after: Duration) -> Result<Vec<Stuck>, sqlx::Error> {
    sqlx::query_as(
        "select r.id, r.refund_no, r.status, p.channel, c.last_error
         from payments p
         join lateral (
            select * from refunds where payment_id = p.id order by created_at desc, id desc limit 1
         ) r on true
         left join provider_checks c on c.subject = 'refund' and c.subject_id = r.id
         where p.status = 'REFUNDING' and r.created_at < statement_timestamp() - make_interval(secs => $1)
           and not exists (
              select 1 from cases x
              where x.subject = 'refund' and x.subject_id = r.id and (x.resolved_at is null or x.resolved_at > clock_timestamp() - make_interval(secs => $1))
           )
         order by p.id limit 100",
    )
    .bind(after.as_secs_f64())
    .fetch_all(db)
    .await
}

/// A late payment that nobody gives back.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) payment_id: PaymentId,
    pub(crate) channel: Channel,
    pub(crate) channel_order_no: String,
}

impl FromRow<'_, PgRow> for Kept {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            payment_id: row::id(row, "id")?,
            channel: row::channel(row)?,
            channel_order_no: row.try_get("channel_order_no")?,
        })
    }
}

/// Finds late payments that have not been REFUNDING for longer than `after`, for which no case was open in this time. At
/// most 100.
pub(crate) async fn kept(db: impl PgExecutor<'_>, after: Duration) -> Result<Vec<Kept>, sqlx::Error> {
    sqlx::query_as(
        "select p.id, p.channel, p.channel_order_no
         from payments p
         where p.late and p.status = 'SUCCESS' and p.updated_at < statement_timestamp() - make_interval(secs => $1)
           and not exists (
              select 1 from cases x
              where x.subject = 'payment' and x.subject_id = p.id and (x.resolved_at is null or x.resolved_at > clock_timestamp() - make_interval(secs => $1))
           )
           and not exists (
              select 1 from cases x join refunds r on r.id = x.subject_id
              where x.subject = 'refund' and r.payment_id = p.id and (x.resolved_at is null or x.resolved_at > clock_timestamp() - make_interval(secs => $1))
           )
         order by p.updated_at limit 100",
    )
    .bind(after.as_secs_f64())
    .fetch_all(db)
    .await
}
