use ids::{TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use crate::domain::Balance;

/// Reads an account without locking it, as it is at this moment: what grants that are over still have counts as expired.
pub(crate) async fn find(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Balance>, sqlx::Error> {
    let row = sqlx::query(
        "select a.user_id, a.granted, a.available - d.due as available, a.reserved, a.consumed, \
             a.expired + d.due as expired, a.clawed_back \
         from account a cross join lateral ( \
             select coalesce(sum(remaining), 0)::bigint as due from quota_grant g \
             where g.user_id = a.user_id and g.remaining > 0 and g.expires_at <= clock_timestamp() \
         ) d where a.user_id = $1",
    )
    .bind(user_id.uuid())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(balance).transpose()
}

/// Locks an account. Tells also whether a grant of it is over that still has quota.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<(Balance, bool)>, sqlx::Error> {
    // The clock is read after the wait for the lock: a CTE with `for update` stands for itself.
    let row = sqlx::query(
        "with locked as ( \
             select user_id, granted, available, reserved, consumed, expired, clawed_back \
             from account where user_id = $1 for update \
         ) \
         select l.*, exists ( \
             select from quota_grant g \
             where g.user_id = l.user_id and g.remaining > 0 and g.expires_at <= clock_timestamp() \
         ) as due from locked l",
    )
    .bind(user_id.uuid())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((balance(&row)?, row.try_get("due")?)))
        .transpose()
}

/// Locks an account, which is opened if there is none.
pub(crate) async fn open_and_lock(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<(Balance, bool), sqlx::Error> {
    sqlx::query(
        "insert into account (user_id) values ($1) on conflict on constraint account_pkey do nothing",
    )
    .bind(user_id.uuid())
    .execute(&mut *conn)
    .await?;
    lock(conn, user_id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Locks the account that a task's reservation belongs to. Returns it with the reservation's amount, which never changes.
///
/// The reservation's phase must be read by a later statement: this one sees it as it was before the wait for the lock.
pub(crate) async fn lock_by_task(
    conn: &mut PgConnection,
    task_id: TaskId,
) -> Result<Option<(Balance, i64)>, sqlx::Error> {
    let row = sqlx::query(
        "select a.user_id, a.granted, a.available, a.reserved, a.consumed, a.expired, a.clawed_back, t.amount \
         from quota_transactions t join account a on a.user_id = t.user_id \
         where t.task_id = $1 for update of a",
    )
    .bind(task_id.uuid())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((balance(&row)?, row.try_get("amount")?)))
        .transpose()
}

/// Reads the columns of an account.
pub(super) fn balance(row: &PgRow) -> Result<Balance, sqlx::Error> {
    Ok(Balance {
        user_id: UserId::from_uuid(row.try_get("user_id")?),
        granted: row.try_get("granted")?,
        available: row.try_get("available")?,
        reserved: row.try_get("reserved")?,
        consumed: row.try_get("consumed")?,
        expired: row.try_get("expired")?,
        clawed_back: row.try_get("clawed_back")?,
    })
}
