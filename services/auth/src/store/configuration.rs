use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use crate::domain::{Entry, Key, Value};

/// Takes the next revision. Waits for whoever is changing the configuration.
pub(crate) async fn next_revision(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("update configuration_revision set revision = revision + 1 returning revision")
        .fetch_one(conn)
        .await
}

/// Reads the revision with the public entries, in the order of their keys, all of one moment.
pub(crate) async fn public(db: impl PgExecutor<'_>) -> Result<(i64, Vec<Entry>), sqlx::Error> {
    let rows = sqlx::query(
        "select r.revision, c.key, c.value, c.public, c.version, c.updated_at \
         from configuration_revision r left join configuration c on c.public order by c.key",
    )
    .fetch_all(db)
    .await?;
    let revision = rows
        .first()
        .ok_or(sqlx::Error::RowNotFound)?
        .try_get("revision")?;
    let entries = rows
        .iter()
        .filter_map(|row| match row.try_get::<Option<String>, _>("key") {
            Ok(None) => None,
            Ok(Some(_)) => Some(entry(row)),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    Ok((revision, entries))
}

/// Counts the entries besides this one.
pub(crate) async fn count_others(conn: &mut PgConnection, key: &Key) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from configuration where key <> $1")
        .bind(key.as_str())
        .fetch_one(conn)
        .await
}

/// Sets an entry.
pub(crate) async fn set(
    conn: &mut PgConnection,
    key: &Key,
    value: &Value,
    public: bool,
    revision: i64,
) -> Result<Entry, sqlx::Error> {
    let row = sqlx::query(
        "insert into configuration (key, value, public, version) values ($1, $2, $3, $4) \
         on conflict on constraint configuration_pkey do update \
         set value = excluded.value, public = excluded.public, version = excluded.version, \
             updated_at = clock_timestamp() \
         returning key, value, public, version, updated_at",
    )
    .bind(key.as_str())
    .bind(value.as_json())
    .bind(public)
    .bind(revision)
    .fetch_one(conn)
    .await?;
    entry(&row)
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        public: row.try_get("public")?,
        version: row.try_get("version")?,
        updated_at: row.try_get("updated_at")?,
    })
}
