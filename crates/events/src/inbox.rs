//! The table `inbox` of a consumer's schema: what it has applied.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::Received;

/// Statements on the inbox of one schema.
#[derive(Debug)]
pub(crate) struct Inbox {
    consumer: &'static str,
    insert: String,
    sweep: String,
}

impl Inbox {
    pub(crate) fn new(schema: &'static str, consumer: &'static str) -> Self {
        Self {
            consumer,
            insert: format!(
                "insert into {schema}.inbox (consumer, source, event_id) values ($1, $2, $3)
                 on conflict on constraint inbox_pkey do nothing"
            ),
            sweep: format!(
                "delete from {schema}.inbox where (consumer, source, event_id) in (
                    select consumer, source, event_id from {schema}.inbox
                    where consumer = $1 and done_at < statement_timestamp() - $2::interval
                    order by done_at limit $3
                    for update skip locked
                 )"
            ),
        }
    }

    /// Claims a message for the transaction; false if it has been applied. Waits for a transaction that is applying it.
    pub(crate) async fn claim(
        &self,
        conn: &mut PgConnection,
        received: &Received,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(AssertSqlSafe(self.insert.as_str()))
            .bind(self.consumer)
            .bind(&received.source)
            .bind(&received.id)
            .execute(conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets up to `limit` messages that were applied before `keep`; returns how many.
    pub(crate) async fn sweep(&self, pool: &PgPool, keep: Duration, limit: i64) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(AssertSqlSafe(self.sweep.as_str()))
            .persistent(false)
            .bind(self.consumer)
            .bind(keep)
            .bind(limit)
            .execute(pool)
            .await?;
        Ok(done.rows_affected())
    }
}
