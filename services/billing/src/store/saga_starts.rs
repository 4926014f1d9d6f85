//! The table `saga_starts`: sagas that a transaction has made due.

use ids::SagaId;
use prost::Message;
use sqlx::{PgConnection, PgExecutor};

/// A saga that is due.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Due {
    #[sqlx(rename = "type")]
    pub(crate) saga: String,
    pub(crate) business_id: String,
    pub(crate) input_type: String,
    pub(crate) input: Vec<u8>,
}

/// Makes a saga due, once for each business id. False if it was before.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    saga: &'static str,
    business_id: &str,
    input_type: &'static str,
    input: &impl Message,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into saga_starts (type, business_id, input_type, input) values ($1, $2, $3, $4)
         on conflict on constraint saga_starts_pkey do nothing",
    )
    .bind(saga)
    .bind(business_id)
    .bind(input_type)
    .bind(input.encode_to_vec())
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Takes sagas that are due. Whoever takes one has `lease_s` seconds for it before another may; starting it twice is
/// harmless.
pub(crate) async fn take(db: impl PgExecutor<'_>, limit: i64, lease_s: f64) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as(
        "update saga_starts s
         set next_at = clock_timestamp() + make_interval(secs => $2), tries = tries + 1
         from (
            select type, business_id from saga_starts
            where started_at is null and next_at <= statement_timestamp()
            order by next_at limit $1
            for update skip locked
         ) due
         where s.type = due.type and s.business_id = due.business_id
         returning s.type, s.business_id, s.input_type, s.input",
    )
    .bind(limit)
    .bind(lease_s)
    .fetch_all(db)
    .await
}

/// Writes that a saga was started.
pub(crate) async fn started(db: impl PgExecutor<'_>, due: &Due, saga_id: SagaId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update saga_starts set started_at = clock_timestamp(), saga_id = $3, last_error = null
         where type = $1 and business_id = $2 and started_at is null",
    )
    .bind(&due.saga)
    .bind(&due.business_id)
    .bind(saga_id.uuid())
    .execute(db)
    .await?;
    Ok(())
}

/// Writes why a saga could not be started; it is tried again.
pub(crate) async fn failed(db: impl PgExecutor<'_>, due: &Due, error: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update saga_starts
         set last_error = $3, next_at = clock_timestamp() + least(power(2, least(tries, 6)), 60) * interval '1 second'
         where type = $1 and business_id = $2 and started_at is null",
    )
    .bind(&due.saga)
    .bind(&due.business_id)
    .bind(error)
    .execute(db)
    .await?;
    Ok(())
}
