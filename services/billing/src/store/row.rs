//! Reading columns.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::{Channel, Machine};

pub(super) fn decode(problem: String) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

pub(super) fn status<M: Machine>(row: &PgRow) -> Result<M, sqlx::Error> {
    let name: &str = row.try_get("status")?;
    M::from_name(name).ok_or_else(|| decode(format!("no status of {} is named {name:?}", M::TABLE)))
}

pub(super) fn channel(row: &PgRow) -> Result<Channel, sqlx::Error> {
    let name: &str = row.try_get("channel")?;
    Channel::from_name(name).ok_or_else(|| decode(format!("no channel is named {name:?}")))
}

/// Reads a UUID that is there, as an id.
pub(super) fn id<K: ids::Kind>(row: &PgRow, column: &str) -> Result<ids::Id<K>, sqlx::Error> {
    Ok(ids::Id::from_uuid(row.try_get(column)?))
}
