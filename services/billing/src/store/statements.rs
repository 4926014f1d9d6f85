//! The table `statements`, and what of our books a statement is compared with.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::{Book, BookStatus, CNY, Channel, PaymentStatus, RefundStatus};

/// A day that was compared.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) id: Uuid,
    pub(crate) channel: Channel,
    pub(crate) day: NaiveDate,
    pub(crate) lines: i32,
    pub(crate) paid_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) currency: String,
    pub(crate) differences: i64,
    pub(crate) open_differences: i64,
    pub(crate) imported_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Statement {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            channel: row::channel(row)?,
            day: row.try_get("day")?,
            lines: row.try_get("lines")?,
            paid_minor: row.try_get("paid_minor")?,
            refunded_minor: row.try_get("refunded_minor")?,
            currency: row.try_get("currency")?,
            differences: row.try_get("differences")?,
            open_differences: row.try_get("open_differences")?,
            imported_at: row.try_get("imported_at")?,
        })
    }
}

/// A day to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewStatement {
    pub(crate) channel: Channel,
    pub(crate) day: NaiveDate,
    pub(crate) lines: i32,
    pub(crate) paid_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) import_id: Uuid,
}

/// Writes what a statement has, in place of what an earlier import found. Imports of the same day wait here for each other.
pub(crate) async fn put(conn: &mut PgConnection, new: &NewStatement) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into statements (id, channel, day, lines, paid_minor, refunded_minor, currency, import_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict on constraint statements_pkey
         do update set lines = excluded.lines, paid_minor = excluded.paid_minor,
             refunded_minor = excluded.refunded_minor, import_id = excluded.import_id,
             imported_at = clock_timestamp()",
    )
    .bind(Uuid::now_v7())
    .bind(new.channel.name())
    .bind(new.day)
    .bind(new.lines)
    .bind(new.paid_minor)
    .bind(new.refunded_minor)
    .bind(CNY)
    .bind(new.import_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds a statement.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    channel: Channel,
    day: NaiveDate,
) -> Result<Option<Statement>, sqlx::Error> {
    sqlx::query_as(
        "select s.*, d.differences, d.open_differences
         from statements s cross join lateral (
             select count(*) as differences, count(*) filter (where resolved_at is null) as open_differences
             from statement_differences where channel = s.channel and day = s.day
         ) d
         where s.channel = $1 and s.day = $2",
    )
    .bind(channel.name())
    .bind(day)
    .fetch_optional(db)
    .await
}

/// Returns statements, newest day first. Their ids do not sort so; the place is that of the row they name.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    channel: Option<Channel>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Statement>, sqlx::Error> {
    sqlx::query_as(
        "select s.*, d.differences, d.open_differences
         from statements s cross join lateral (
             select count(*) as differences, count(*) filter (where resolved_at is null) as open_differences
             from statement_differences where channel = s.channel and day = s.day
         ) d
         where ($1::text is null or s.channel = $1)
           and ($2::uuid is null or (s.day, s.channel) < (select day, channel from statements where id = $2))
         order by s.day desc, s.channel desc limit $3",
    )
    .bind(channel.map(Channel::name))
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Returns the newest day of a channel that was imported.
pub(crate) async fn newest(
    db: impl PgExecutor<'_>,
    channel: Channel,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar("select max(day) from statements where channel = $1")
        .bind(channel.name())
        .fetch_one(db)
        .await
}

/// A row of our books: where it stands in the order of a day, its number, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Booked {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: Uuid,
    pub(crate) number: String,
    pub(crate) book: Book,
}

/// A row of `payments`.
struct Paid(Booked);
/// A row of `refunds`.
struct Refunded(Booked);

impl FromRow<'_, PgRow> for Paid {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: PaymentStatus = row::status(row)?;
        booked(row, BookStatus::Payment(status)).map(Self)
    }
}

impl FromRow<'_, PgRow> for Refunded {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: RefundStatus = row::status(row)?;
        booked(row, BookStatus::Refund(status)).map(Self)
    }
}

fn booked(row: &PgRow, status: BookStatus) -> Result<Booked, sqlx::Error> {
    Ok(Booked {
        at: row.try_get("at")?,
        id: row.try_get("id")?,
        number: row.try_get("number")?,
        book: Book {
            amount: row.try_get("amount")?,
            status,
        },
    })
}

/// Where a page of our books begins.
pub(crate) type Place = (DateTime<Utc>, Uuid);

/// Returns payments that were paid between two moments, from a place on.
pub(crate) async fn payments(
    db: impl PgExecutor<'_>,
    channel: Channel,
    end: DateTime<Utc>,
    after: Place,
    limit: i64,
) -> Result<Vec<Booked>, sqlx::Error> {
    let rows: Vec<Paid> = sqlx::query_as(
        "select id, paid_at as at, channel_order_no as number, amount, status from payments
         where channel = $1 and paid_at < $2 and (paid_at, id) > ($3, $4)
         order by paid_at, id limit $5",
    )
    .bind(channel.name())
    .bind(end)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Returns refunds that were asked for and arrived between `start` and `end`, from a place on.
///
/// A statement lists a refund on the day on which it was taken, or on which it arrived: one that was under way at midnight
/// may be in either day's.
pub(crate) async fn refunds(
    db: impl PgExecutor<'_>,
    channel: Channel,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    after: Place,
    limit: i64,
) -> Result<Vec<Booked>, sqlx::Error> {
    let rows: Vec<Refunded> = sqlx::query_as(
        "select r.id, r.ended_at as at, r.refund_no as number, r.amount, r.status
         from refunds r join payments p on p.id = r.payment_id
         where p.channel = $1 and r.status = 'SUCCEEDED' and r.created_at >= $2 and r.ended_at < $3
           and (r.ended_at, r.id) > ($4, $5)
         order by r.ended_at, r.id limit $6",
    )
    .bind(channel.name())
    .bind(start)
    .bind(end)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Finds payments by their numbers.
pub(crate) async fn payments_by_number(
    db: impl PgExecutor<'_>,
    channel: Channel,
    numbers: &[String],
) -> Result<HashMap<String, Book>, sqlx::Error> {
    let rows: Vec<Paid> = sqlx::query_as(
        "select id, created_at as at, channel_order_no as number, amount, status from payments
         where channel = $1 and channel_order_no = any($2)",
    )
    .bind(channel.name())
    .bind(numbers)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|Paid(row)| (row.number, row.book)).collect())
}

/// Finds refunds by their numbers.
pub(crate) async fn refunds_by_number(
    db: impl PgExecutor<'_>,
    channel: Channel,
    numbers: &[String],
) -> Result<HashMap<String, Book>, sqlx::Error> {
    let rows: Vec<Refunded> = sqlx::query_as(
        "select r.id, r.created_at as at, r.refund_no as number, r.amount, r.status
         from refunds r join payments p on p.id = r.payment_id
         where p.channel = $1 and r.refund_no = any($2)",
    )
    .bind(channel.name())
    .bind(numbers)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|Refunded(row)| (row.number, row.book))
        .collect())
}
