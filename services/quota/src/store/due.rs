//! What is over, for the jobs. Read without locks: each is looked at again under the lock of its account.

use chrono::{DateTime, Utc};
use ids::{TaskId, UserId};
use process::PoolGauge;
use sqlx::Row as _;
use uuid::Uuid;

/// Place in the order of due times, after which a page begins.
pub(crate) type Place<K> = (DateTime<Utc>, K);

/// Returns up to `limit` reservations that have run out, the earliest first, after `place`.
pub(crate) async fn reservations(
    pool: &PoolGauge,
    place: Place<Uuid>,
    limit: i64,
) -> Result<Vec<(TaskId, Place<Uuid>)>, sqlx::Error> {
    let rows = sqlx::query(
        "select task_id, expires_at from quota_transactions \
         where phase = 'reserved' and expires_at <= statement_timestamp() and (expires_at, task_id) > ($1, $2) \
         order by expires_at, task_id limit $3",
    )
    .bind(place.0)
    .bind(place.1)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let task_id: Uuid = row.try_get("task_id")?;
            Ok((TaskId::from_uuid(task_id), (row.try_get("expires_at")?, task_id)))
        })
        .collect()
}

/// Returns the users of up to `limit` grants that are over and still have quota, the earliest first, after `place`.
pub(crate) async fn grants(
    pool: &PoolGauge,
    place: Place<String>,
    limit: i64,
) -> Result<Vec<(UserId, Place<String>)>, sqlx::Error> {
    let rows = sqlx::query(
        "select user_id, grant_id, expires_at from quota_grant \
         where remaining > 0 and expires_at <= statement_timestamp() and (expires_at, grant_id) > ($1, $2) \
         order by expires_at, grant_id limit $3",
    )
    .bind(place.0)
    .bind(place.1)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let user_id = UserId::from_uuid(row.try_get("user_id")?);
            Ok((user_id, (row.try_get("expires_at")?, row.try_get("grant_id")?)))
        })
        .collect()
}
