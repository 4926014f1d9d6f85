//! The tables `notify_inbox` and `notify_receipts`: what providers told, and every delivery of it.

use std::time::Duration;

use ids::ReceiptId;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::checks::Subject;
use super::row;
use crate::domain::Channel;

/// A notification that was verified.
#[derive(Debug)]
pub(crate) struct NewNotify<'a> {
    pub(crate) channel: Channel,
    pub(crate) event_id: &'a str,
    pub(crate) subject: Subject,
    /// Our number of the subject.
    pub(crate) number: &'a str,
    pub(crate) event: &'a Value,
    pub(crate) body_sha256: &'a [u8],
}

/// Stores a notification and its delivery, in one statement. False if the event was stored before.
pub(crate) async fn take(db: impl PgExecutor<'_>, new: &NewNotify<'_>) -> Result<bool, sqlx::Error> {
    let outcome: String = sqlx::query_scalar(
        "with stored as (
            insert into notify_inbox (id, channel, event_id, subject, number, event)
            values ($1, $2, $3, $4, $5, $6)
            on conflict on constraint notify_inbox_event do nothing returning id
         )
         insert into notify_receipts (id, channel, outcome, event_id, number, body_sha256)
         select $7, $2, case when exists (select 1 from stored) then 'TAKEN' else 'DUPLICATE' end, $3, $5, $8
         returning outcome",
    )
    .bind(Uuid::now_v7())
    .bind(new.channel.name())
    .bind(new.event_id)
    .bind(new.subject.name())
    .bind(new.number)
    .bind(new.event)
    .bind(ReceiptId::new().uuid())
    .bind(new.body_sha256)
    .fetch_one(db)
    .await?;
    Ok(outcome == "TAKEN")
}

/// Stores the delivery of a notification that was refused.
pub(crate) async fn refuse(
    db: impl PgExecutor<'_>,
    channel: Channel,
    reason: &str,
    detail: &str,
    body_sha256: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into notify_receipts (id, channel, outcome, reason, detail, body_sha256)
         values ($1, $2, 'REFUSED', $3, $4, $5)",
    )
    .bind(ReceiptId::new().uuid())
    .bind(channel.name())
    .bind(reason)
    .bind(detail)
    .bind(body_sha256)
    .execute(db)
    .await?;
    Ok(())
}

/// A notification that is to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Notify {
    pub(crate) subject: Subject,
    /// What of ours the channel knows by the number.
    pub(crate) subject_id: Option<Uuid>,
    pub(crate) number: String,
    pub(crate) event: Value,
}

impl FromRow<'_, PgRow> for Notify {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let subject: &str = row.try_get("subject")?;
        Ok(Self {
            subject_id: row.try_get("subject_id")?,
            subject: Subject::from_name(subject)
                .ok_or_else(|| row::decode(format!("no subject is named {subject:?}")))?,
            number: row.try_get("number")?,
            event: row.try_get("event")?,
        })
    }
}

/// Names up to `limit` notifications that are due, those that wait longest first.
pub(crate) async fn due(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select id from notify_inbox where state = 'PENDING' and next_at <= statement_timestamp()
         order by next_at limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Locks a notification that is to be applied. `None` if somebody else applies it or has applied it. Waits for nobody, so
/// it may come before the locks of what it is about.
pub(crate) async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<Notify>, sqlx::Error> {
    sqlx::query_as(
        "select subject, number, event,
                case subject
                    when 'payment' then (
                        select p.id from payments p where p.channel = n.channel and p.channel_order_no = n.number)
                    when 'refund' then (
                        select r.id from refunds r join payments p on p.id = r.payment_id
                        where p.channel = n.channel and r.refund_no = n.number)
                    when 'withdrawal' then (
                        select w.id from withdrawals w where w.channel = n.channel and w.withdrawal_no = n.number)
                end as subject_id
         from notify_inbox n where id = $1 and state = 'PENDING' for update of n skip locked",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
}

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It told something new.
    Applied,
    /// What it told was known.
    Unchanged,
    /// It cannot be applied: why.
    Held(String),
}

/// Writes what became of a notification. False if it is not PENDING.
pub(crate) async fn applied(conn: &mut PgConnection, id: Uuid, fate: &Fate) -> Result<bool, sqlx::Error> {
    let (state, detail) = match fate {
        Fate::Applied => ("APPLIED", None),
        Fate::Unchanged => ("UNCHANGED", None),
        Fate::Held(why) => ("HELD", Some(why.as_str())),
    };
    let written = sqlx::query(
        "update notify_inbox set state = $2, detail = $3, applied_at = clock_timestamp()
         where id = $1 and state = 'PENDING'",
    )
    .bind(id)
    .bind(state)
    .bind(detail)
    .execute(conn)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Writes why a notification could not be applied now; it is tried again, from 1 s later to 1 min later.
pub(crate) async fn put_off(db: impl PgExecutor<'_>, id: Uuid, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update notify_inbox
         set tries = tries + 1, detail = $2,
             next_at = clock_timestamp() + least(power(2, least(tries, 6)), 60) * interval '1 second'
         where id = $1 and state = 'PENDING'",
    )
    .bind(id)
    .bind(why)
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes up to `limit` deliveries that are older than `keep`. Returns how many.
pub(crate) async fn forget_receipts(
    db: impl PgExecutor<'_>,
    keep: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query(
        "delete from notify_receipts where id in (
            select id from notify_receipts where received_at < statement_timestamp() - make_interval(secs => $1)
            order by received_at limit $2
         )",
    )
    .bind(keep.as_secs_f64())
    .bind(limit)
    .execute(db)
    .await?;
    Ok(forgotten.rows_affected())
}
