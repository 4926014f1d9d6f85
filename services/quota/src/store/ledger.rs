use ids::{EntryId, TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};
use uuid::Uuid;

use crate::domain::Entry;

/// Returns the newest `limit` movements of a user, or those older than `before`.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    before: Option<EntryId>,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    // Without a page token: the largest UUID, so that there is one statement with one plan.
    let before = before.map_or(Uuid::max(), EntryId::uuid);
    let rows = sqlx::query(
        "select entry_id, kind, granted_delta, available_delta, reserved_delta, consumed_delta, expired_delta, \
             clawed_back_delta, task_id, grant_id, clawback_id, created_at \
         from ledger where user_id = $1 and entry_id < $2 order by entry_id desc limit $3",
    )
    .bind(user_id.uuid())
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        entry_id: EntryId::from_uuid(row.try_get("entry_id")?),
        kind: row.try_get("kind")?,
        granted_delta: row.try_get("granted_delta")?,
        available_delta: row.try_get("available_delta")?,
        reserved_delta: row.try_get("reserved_delta")?,
        consumed_delta: row.try_get("consumed_delta")?,
        expired_delta: row.try_get("expired_delta")?,
        clawed_back_delta: row.try_get("clawed_back_delta")?,
        task_id: row.try_get::<Option<Uuid>, _>("task_id")?.map(TaskId::from_uuid),
        grant_id: row.try_get("grant_id")?,
        clawback_id: row.try_get("clawback_id")?,
        created_at: row.try_get("created_at")?,
    })
}
