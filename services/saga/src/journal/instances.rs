//! Which instances there are.

use chrono::{DateTime, Utc};
use saga_core::Millis;

use super::codec::millis;
use super::{Operators, ReadError};

/// A replica of the orchestrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Name.
    pub id: String,
    /// Where others reach it; empty if they cannot.
    pub address: String,
    /// Rises with every start and takeover.
    pub epoch: u64,
    /// When it renewed its lease last.
    pub heartbeat_at: Millis,
    /// Whether it holds its lease.
    pub alive: bool,
    /// Sagas of its own that have not ended.
    pub unfinished_sagas: u64,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: String,
    address: String,
    epoch: i64,
    heartbeat_at: DateTime<Utc>,
    alive: bool,
    unfinished: i64,
}

impl Operators {
    /// Lists the instances, by name. Those that died long ago are not among them.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn instances(&self) -> Result<Vec<Instance>, ReadError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select r.id, r.address, r.epoch, r.heartbeat_at,
                r.expires_at > clock_timestamp() and r.taken_by is null as alive,
                (select count(*) from saga.instance i
                 where i.owner = r.id and i.phase in ('RUNNING', 'COMPENSATING')) as unfinished
             from saga.replica r
             order by r.id",
        )
        .fetch_all(self.pool())
        .await?;
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let instance = |row: Row| Instance {
            id: row.id,
            address: row.address,
            epoch: number(row.epoch),
            heartbeat_at: millis(row.heartbeat_at),
            alive: row.alive,
            unfinished_sagas: number(row.unfinished),
        };
        Ok(rows.into_iter().map(instance).collect())
    }
}
