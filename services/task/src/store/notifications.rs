//! The table `notification`.
//!
//! Whoever changes a user's notifications holds the head of the user's feed, so that these changes come one after the
//! other. Only the deletion of read ones does not; it skips what others have locked.

use chrono::{DateTime, Utc};
use ids::{Id, Kind, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

use super::tasks::After;

/// Kind of the ids of notifications.
#[derive(Debug)]
pub(crate) enum NotificationKind {}

impl Kind for NotificationKind {
    const PREFIX: &'static str = "notification";
}

/// Identifies a notification.
pub(crate) type NotificationId = Id<NotificationKind>;

/// A message to a user.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) id: NotificationId,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) priority: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) read_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Notification {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: NotificationId::from_uuid(row.try_get("id")?),
            kind: row.try_get("type")?,
            title: row.try_get("title")?,
            message: row.try_get("message")?,
            priority: row.try_get("priority")?,
            created_at: row.try_get("created_at")?,
            read_at: row.try_get("read_at")?,
        })
    }
}

/// A notification that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewNotification {
    pub(crate) id: NotificationId,
    pub(crate) user_id: UserId,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) priority: &'static str,
    /// When it was sent, by the sender's clock.
    pub(crate) sent_at: Option<DateTime<Utc>>,
    /// The event it came with.
    pub(crate) source: String,
    pub(crate) event_id: String,
}

/// Inserts a notification. False if its event has brought one already.
pub(crate) async fn insert(conn: &mut PgConnection, new: &NewNotification) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into notification
            (id, user_id, type, title, message, priority, created_at, source, event_id)
         values ($1, $2, $3, $4, $5, $6, least($7, now()), $8, $9)
         on conflict on constraint notification_once do nothing",
    )
    .bind(new.id.uuid())
    .bind(new.user_id.uuid())
    .bind(&new.kind)
    .bind(&new.title)
    .bind(&new.message)
    .bind(new.priority)
    .bind(new.sent_at)
    .bind(&new.source)
    .bind(&new.event_id)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a user's notifications beyond `keep`: the oldest that are read first, then the oldest.
pub(crate) async fn trim(conn: &mut PgConnection, user_id: UserId, keep: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from notification where id in (
            select id from notification where user_id = $1
            order by read_at is not null, created_at desc, id desc offset $2
         )",
    )
    .bind(user_id.uuid())
    .bind(keep)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Finds those of these notifications that exist, in any order.
pub(crate) async fn find_all(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as("select * from notification where id = any ($1)")
        .bind(ids)
        .fetch_all(db)
        .await
}

/// Lists notifications of a user, newest first.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    unread_only: bool,
    after: Option<After>,
    limit: i64,
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as(
        "select * from notification
         where user_id = $1
           and (not $2 or read_at is null)
           and ($3::timestamptz is null or (created_at, id) < ($3, $4))
         order by created_at desc, id desc
         limit $5",
    )
    .bind(user_id.uuid())
    .bind(unread_only)
    .bind(after.map(|a| a.created_at))
    .bind(after.map(|a| a.id))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Counts a user's unread notifications.
pub(crate) async fn unread(db: impl PgExecutor<'_>, user_id: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from notification where user_id = $1 and read_at is null")
        .bind(user_id.uuid())
        .fetch_one(db)
        .await
}

/// Marks up to `limit` unread notifications of a user as read, the oldest first; no `ids` means any. Returns which.
pub(crate) async fn mark_read(
    conn: &mut PgConnection,
    user_id: UserId,
    ids: Option<&[Uuid]>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "with marked as (
            update notification set read_at = now()
            where id in (
                select id from notification
                where user_id = $1 and read_at is null and ($2::uuid[] is null or id = any ($2))
                order by created_at, id limit $3
            )
            returning id, created_at
         )
         select id from marked order by created_at, id",
    )
    .bind(user_id.uuid())
    .bind(ids)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Deletes up to `limit` notifications that were read more than `keep_seconds` ago. Returns how many.
pub(crate) async fn delete_read(pool: &PgPool, keep_seconds: f64, limit: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from notification where id in (
            select id from notification
            where read_at < statement_timestamp() - make_interval(secs => $1)
            order by read_at limit $2
            for update skip locked
         )",
    )
    .persistent(false)
    .bind(keep_seconds)
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
