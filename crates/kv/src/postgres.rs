//! The store on Postgres: one unlogged table, one statement an operation. What has ended is absent, whether it is swept or
//! not.

use bytes::Bytes;
use sqlx::PgPool;

use crate::limit::{self, Hit, Limit};
use crate::rotation::{self, Rotation};
use crate::store::millis;
use crate::versioned::Versioned;
use crate::{Cause, Error, Key};

/// Error codes of Postgres: no number, no text, a number of more than 64 bits, and what our functions raise (XX001).
const NOT_OURS: [&str; 4] = ["22P02", "22021", "22003", "XX001"];

#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let value: Option<Vec<u8>> = sqlx::query_scalar(
            "select value from kv.entry
             where key = $1 and version is null and expires_at > clock_timestamp()",
        )
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(value.map(Bytes::from))
    }

    pub(crate) async fn put(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<(), Error> {
        sqlx::query(
            "insert into kv.entry (key, value, expires_at)
             values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
             on conflict on constraint entry_pkey do update
             set value = excluded.value, version = null, expires_at = excluded.expires_at",
        )
        .bind(key.as_str())
        .bind(value)
        .bind(ttl_ms)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(())
    }

    pub(crate) async fn put_if_absent(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<bool, Error> {
        let done = sqlx::query(
            "insert into kv.entry as held (key, value, expires_at)
             values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
             on conflict on constraint entry_pkey do update
             set value = excluded.value, version = null, expires_at = excluded.expires_at
             where held.expires_at <= clock_timestamp()",
        )
        .bind(key.as_str())
        .bind(value)
        .bind(ttl_ms)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn replace(
        &self,
        key: &Key,
        expected: &[u8],
        new: &[u8],
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "update kv.entry set value = $3, expires_at = clock_timestamp() + $4 * interval '1 ms'
             where key = $1 and value = $2 and version is null and expires_at > clock_timestamp()",
        )
        .bind(key.as_str())
        .bind(expected)
        .bind(new)
        .bind(ttl_ms)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn remove(&self, key: &Key) -> Result<bool, Error> {
        let lived: Option<bool> = sqlx::query_scalar(
            "delete from kv.entry where key = $1 returning expires_at > clock_timestamp()",
        )
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(lived.unwrap_or(false))
    }

    pub(crate) async fn remove_if(&self, key: &Key, expected: &[u8]) -> Result<bool, Error> {
        let done = sqlx::query(
            "delete from kv.entry
             where key = $1 and value = $2 and version is null and expires_at > clock_timestamp()",
        )
        .bind(key.as_str())
        .bind(expected)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn take(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let value: Option<Vec<u8>> = sqlx::query_scalar(
            "delete from kv.entry
             where key = $1 and version is null and expires_at > clock_timestamp() returning value",
        )
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(value.map(Bytes::from))
    }

    pub(crate) async fn add(&self, key: &Key, delta: i64, ttl_ms: Option<i64>) -> Result<i64, Error> {
        sqlx::query_scalar(
            "insert into kv.entry as held (key, value, expires_at)
             values ($1, convert_to($2::bigint::text, 'UTF8'),
                     coalesce(clock_timestamp() + $3 * interval '1 ms', 'infinity'))
             on conflict on constraint entry_pkey do update
             set value = case when held.expires_at <= clock_timestamp() then excluded.value
                         else convert_to((convert_from(held.value, 'UTF8')::bigint + $2)::text, 'UTF8') end,
                 version = null,
                 expires_at = case when held.expires_at <= clock_timestamp() then excluded.expires_at
                              else held.expires_at end
             returning convert_from(value, 'UTF8')::bigint",
        )
        .bind(key.as_str())
        .bind(delta)
        .bind(ttl_ms)
        .fetch_one(&self.pool)
        .await
        .map_err(failed(key))
    }

    pub(crate) async fn put_newer(
        &self,
        key: &Key,
        version: i64,
        value: Option<&[u8]>,
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "insert into kv.entry as held (key, version, value, expires_at)
             values ($1, $2, $3, clock_timestamp() + $4 * interval '1 ms')
             on conflict on constraint entry_pkey do update
             set value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
             where held.version <= excluded.version or held.expires_at <= clock_timestamp()",
        )
        .bind(key.as_str())
        .bind(version)
        .bind(value)
        .bind(ttl_ms)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn get_versioned(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        let row: Option<(Option<i64>, Option<Vec<u8>>)> = sqlx::query_as(
            "select version, value from kv.entry where key = $1 and expires_at > clock_timestamp()",
        )
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed(key))?;
        let Some((version, value)) = row else {
            return Ok(None);
        };
        let version = version.ok_or(Error::Corrupt { family: key.family() })?;
        Ok(Some(Versioned {
            version,
            value: value.map(Bytes::from),
        }))
    }

    pub(crate) async fn hit(&self, limits: &[Limit]) -> Result<Hit, Error> {
        let Some(first) = limits.first() else {
            return Ok(Hit::Within);
        };
        let keys: Vec<&str> = limits.iter().map(|limit| limit.key.as_str()).collect();
        let most: Vec<i64> = limits.iter().map(|limit| i64::from(limit.max)).collect();
        let windows: Vec<i64> = limits.iter().map(|limit| millis(limit.window)).collect();
        let (place, retry_after_ms): (i64, i64) =
            sqlx::query_as("select place, retry_after_ms from kv.hit($1, $2, $3)")
                .bind(keys)
                .bind(most)
                .bind(windows)
                .fetch_one(&self.pool)
                .await
                .map_err(failed(&first.key))?;
        Ok(limit::answer(place, retry_after_ms))
    }

    pub(crate) async fn begin_rotation(&self, key: &Key, first: &str, ttl_ms: i64) -> Result<(), Error> {
        sqlx::query(
            "insert into kv.entry (key, value, expires_at)
             values ($1, kv.family($2, ''), clock_timestamp() + $3 * interval '1 ms')
             on conflict on constraint entry_pkey do update
             set value = excluded.value, version = null, expires_at = excluded.expires_at",
        )
        .bind(key.as_str())
        .bind(first)
        .bind(ttl_ms)
        .execute(&self.pool)
        .await
        .map_err(failed(key))?;
        Ok(())
    }

    pub(crate) async fn rotate(
        &self,
        key: &Key,
        presented: &str,
        next: &str,
        grace_ms: i64,
        ttl_ms: i64,
    ) -> Result<Rotation, Error> {
        let (outcome, current): (String, Option<String>) =
            sqlx::query_as("select outcome, current_id from kv.rotate($1, $2, $3, $4, $5)")
                .bind(key.as_str())
                .bind(presented)
                .bind(next)
                .bind(grace_ms)
                .bind(ttl_ms)
                .fetch_one(&self.pool)
                .await
                .map_err(failed(key))?;
        rotation::answer(key.family(), &outcome, current)
    }

    /// Deletes some of what has ended, and says how many; leaves alone what others are working on.
    pub(crate) async fn sweep(&self, most: u32) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(
            "delete from kv.entry where key in (
                select key from kv.entry where expires_at <= statement_timestamp()
                order by expires_at limit $1 for update skip locked
             )",
        )
        .bind(i64::from(most))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}

/// Tells a value that is not ours from a store that does not answer.
fn failed(key: &Key) -> impl FnOnce(sqlx::Error) -> Error {
    let family = key.family();
    move |error| {
        let code = error.as_database_error().and_then(|error| error.code());
        match code {
            Some(code) if NOT_OURS.contains(&code.as_ref()) => Error::Corrupt { family },
            _ => Error::Unavailable(Cause::Postgres(error)),
        }
    }
}
