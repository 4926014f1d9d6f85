//! The table `payees`: who gets the money of a withdrawal, sealed.

use std::time::Duration;

use ids::WithdrawalId;
use kms::rewrap::Column;
use sqlx::{PgConnection, PgExecutor};

/// Where recipients are sealed for: neither name can change without sealing them again.
pub(crate) const SEALED: Column = Column {
    table: "billing.payees",
    column: "recipient_sealed",
    key: "withdrawal_id",
    row: "withdrawal_id",
};

/// Writes who gets the money. False if it was written before.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    id: WithdrawalId,
    sealed: &[u8],
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into payees (withdrawal_id, recipient_sealed) values ($1, $2)
         on conflict on constraint payees_pkey do nothing",
    )
    .bind(id.uuid())
    .bind(sealed)
    .execute(db)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Finds who gets the money.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: WithdrawalId) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("select recipient_sealed from payees where withdrawal_id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Keeps who gets the money for good, in the transaction that writes the withdrawal. False if nobody is known.
pub(crate) async fn take(conn: &mut PgConnection, id: WithdrawalId) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "update payees set taken_at = coalesce(taken_at, clock_timestamp()) where withdrawal_id = $1",
    )
    .bind(id.uuid())
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Forgets up to `limit` of those who were written longer than `keep` ago, and for whom there is no withdrawal.
pub(crate) async fn forget(db: impl PgExecutor<'_>, keep: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query(
        "delete from payees where withdrawal_id in (
            select withdrawal_id from payees
            where taken_at is null and created_at < statement_timestamp() - make_interval(secs => $1)
            order by created_at limit $2
            for update skip locked
         )",
    )
    .bind(keep.as_secs_f64())
    .bind(limit)
    .execute(db)
    .await?;
    Ok(forgotten.rows_affected())
}
