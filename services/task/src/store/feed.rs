//! The tables `feed` and `feed_head`: what each user is told.
//!
//! Lock order of every transaction: barrier row, run, task, head of the feed, notifications. A head is locked until the
//! commit, and no transaction has two.

use ids::{TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Row as _};
use uuid::Uuid;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Task(Uuid),
    Notification(Uuid),
}

/// One event of a user's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) user_id: Uuid,
    /// From 1, without gaps.
    pub(crate) seq: u64,
    pub(crate) subject: Subject,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let subject = match (row.try_get("task_id")?, row.try_get("notification_id")?) {
            (Some(task), None) => Subject::Task(task),
            (None, Some(notification)) => Subject::Notification(notification),
            (Some(_), Some(_)) | (None, None) => {
                return Err(sqlx::Error::Decode("an event has one subject".into()));
            }
        };
        Ok(Self {
            user_id: row.try_get("user_id")?,
            seq: number(row.try_get("seq")?)?,
            subject,
        })
    }
}

/// Reads a number that a constraint keeps above zero.
fn number(value: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Adds an event about a task.
pub(crate) async fn append_task(
    conn: &mut PgConnection,
    user_id: UserId,
    task_id: TaskId,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with head as (
            insert into feed_head (user_id, last_seq) values ($1, 1)
            on conflict on constraint feed_head_pkey do update set last_seq = feed_head.last_seq + 1
            returning last_seq
         )
         insert into feed (user_id, seq, task_id) select $1, last_seq, $2 from head",
    )
    .bind(user_id.uuid())
    .bind(task_id.uuid())
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds an event about each notification, in this order.
pub(crate) async fn append_notifications(
    conn: &mut PgConnection,
    user_id: UserId,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with head as (
            insert into feed_head (user_id, last_seq) values ($1, cardinality($2))
            on conflict on constraint feed_head_pkey
            do update set last_seq = feed_head.last_seq + excluded.last_seq
            returning last_seq
         )
         insert into feed (user_id, seq, notification_id)
         select $1, head.last_seq - cardinality($2) + told.place, told.id
         from head, unnest($2::uuid[]) with ordinality told (id, place)",
    )
    .bind(user_id.uuid())
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the head of a user's feed, if there is one.
pub(crate) async fn lock(conn: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("select from feed_head where user_id = $1 for no key update")
        .bind(user_id.uuid())
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the number of a user's last event, 0 if there was none.
pub(crate) async fn head(db: impl PgExecutor<'_>, user_id: UserId) -> Result<u64, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar("select last_seq from feed_head where user_id = $1")
        .bind(user_id.uuid())
        .fetch_optional(db)
        .await?;
    last.map_or(Ok(0), number)
}

/// Reads up to `limit` events of a user after the one with this number, in order. Old ones may be gone.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    after: u64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(
        "select user_id, seq, task_id, notification_id from feed
         where user_id = $1 and seq > $2 order by seq limit $3",
    )
    .bind(user_id.uuid())
    // No feed is that long: nothing follows.
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// What a look at the whole table has found.
#[derive(Debug)]
pub(crate) struct Look {
    /// The database's snapshot at this look, for the next one.
    pub(crate) snapshot: String,
    /// What became visible since the look before, by user and number; one more than the limit if there is too much.
    pub(crate) rows: Vec<Row>,
    /// The database was set back to an earlier state: what is remembered of it is wrong.
    pub(crate) backwards: bool,
}

/// Reads events that have become visible since an earlier look; none without one. Each event is in exactly one look.
///
/// Transactions that had not ended at the earlier look are those that its snapshot lists and those above its upper bound.
/// Therefore a transaction that stays open for hours costs nothing here, and none that commits late is missed.
pub(crate) async fn since(pool: &PgPool, snapshot: Option<&str>, limit: i64) -> Result<Look, sqlx::Error> {
    let found = sqlx::query(
        "with now as materialized (select pg_current_snapshot() as snapshot)
         select now.snapshot::text as snapshot,
                coalesce(pg_snapshot_xmax(now.snapshot) < pg_snapshot_xmax($1::text::pg_snapshot), false)
                    as backwards,
                f.user_id, f.seq, f.task_id, f.notification_id
         from now left join lateral (
            select * from (
                select user_id, seq, task_id, notification_id from feed
                where xid >= pg_snapshot_xmax($1::text::pg_snapshot)
                union all
                select user_id, seq, task_id, notification_id from feed
                where xid in (select pg_snapshot_xip($1::text::pg_snapshot))
            ) new
            order by user_id, seq limit $2
         ) f on true",
    )
    // A plan that was made for an empty table would be kept, and read the whole of a long one each time.
    .persistent(false)
    .bind(snapshot)
    .bind(limit.saturating_add(1))
    .fetch_all(pool)
    .await?;
    let first = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let nothing: Option<Uuid> = first.try_get("user_id")?;
    Ok(Look {
        snapshot: first.try_get("snapshot")?,
        backwards: first.try_get("backwards")?,
        rows: match nothing {
            None => Vec::new(),
            Some(_) => found.iter().map(Row::from_row).collect::<Result<_, _>>()?,
        },
    })
}

/// Deletes up to `limit` events older than `keep_seconds`, the oldest first. Returns how many.
pub(crate) async fn delete_old(pool: &PgPool, keep_seconds: f64, limit: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from feed where (user_id, seq) in (
            select user_id, seq from feed
            where created_at < statement_timestamp() - make_interval(secs => $1)
            order by created_at limit $2
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

/// Deletes up to `limit` events that are not among the last `keep` of their user; looks at users who were told something
/// within `active_seconds`. Returns how many.
pub(crate) async fn delete_beyond(
    pool: &PgPool,
    keep: i64,
    active_seconds: f64,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "with active as materialized (
            select user_id, max(seq) - $1 as upto from feed
            where created_at >= statement_timestamp() - make_interval(secs => $2)
            group by user_id having max(seq) > $1
         )
         delete from feed where (user_id, seq) in (
            select f.user_id, f.seq from active a join feed f on f.user_id = a.user_id and f.seq <= a.upto
            limit $3
            for update of f skip locked
         )",
    )
    .persistent(false)
    .bind(keep)
    .bind(active_seconds)
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
