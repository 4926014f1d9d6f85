//! The statements of a walk. Names come from code, never from outside; values are bound.

use sqlx::{AssertSqlSafe, PgPool};

use super::Column;

/// A row that is looked at.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Row {
    /// Its key, as text.
    pub(super) key: String,
    /// What stands for it in [`Place::row`](crate::Place::row).
    pub(super) row: Option<String>,
    /// The sealed field; `None` if it is under the current key.
    pub(super) sealed: Option<Vec<u8>>,
}

/// Asks for the type of a column's key, which texts of it are cast to. So a walk follows the key's own index.
pub(super) async fn key_type(pool: &PgPool, column: &Column) -> sqlx::Result<String> {
    let Column { table, key, .. } = column;
    let sql = format!("select pg_typeof((select ({key}) from {table} limit 0))::text");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await
}

/// Tells whether no row has a field.
pub(super) async fn is_empty(pool: &PgPool, column: &Column) -> sqlx::Result<bool> {
    let Column { table, column, .. } = column;
    let sql = format!("select not exists (select from {table} where {column} is not null)");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await
}

/// Reads the next rows after a key. What begins with `current` is under the current key, and stays where it is.
pub(super) async fn next(
    pool: &PgPool,
    column: &Column,
    key_type: &str,
    after: Option<&str>,
    current: Option<&[u8]>,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let Column {
        table,
        column,
        key,
        row,
    } = column;
    let place = match after {
        // A condition that depends on a parameter's absence would be planned without the index.
        Some(_) => format!("({key}) > $1::text::{key_type}"),
        None => "$1::text is null".to_owned(),
    };
    let sql = format!(
        "select ({key})::text as key, ({row})::text as row,
                case when substring({column} from 1 for octet_length($2)) = $2 then null else {column} end as sealed
         from {table}
         where {place} and {column} is not null
         order by ({key})
         limit $3"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(after)
        .bind(current)
        .bind(limit)
        .fetch_all(pool)
        .await
}

/// Reads one field again; `None` if its row has gone, or it is empty now.
pub(super) async fn read(
    pool: &PgPool,
    column: &Column,
    key_type: &str,
    of: &str,
) -> sqlx::Result<Option<Vec<u8>>> {
    let Column {
        table, column, key, ..
    } = column;
    let sql = format!("select {column} from {table} where ({key}) = $1::text::{key_type}");
    let found: Option<Option<Vec<u8>>> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(of)
        .fetch_optional(pool)
        .await?;
    Ok(found.flatten())
}

/// Puts a field in the place of the one that was read; false if somebody has written another one since.
pub(super) async fn replace(
    pool: &PgPool,
    column: &Column,
    key_type: &str,
    of: &str,
    old: &[u8],
    new: &[u8],
) -> sqlx::Result<bool> {
    let Column {
        table, column, key, ..
    } = column;
    let sql =
        format!("update {table} set {column} = $3 where ({key}) = $1::text::{key_type} and {column} = $2");
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(of)
        .bind(old)
        .bind(new)
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}
