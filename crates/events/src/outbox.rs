//! The table `outbox` of a service's schema: what is to be published, and what is known of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, Transaction};
use uuid::Uuid;

use crate::cloudevent::RESERVED;
use crate::{Event, MAX_MESSAGE_BYTES, topic};

const MAX_KEY_BYTES: usize = 200;
const MAX_ATTRIBUTE_NAME_BYTES: usize = 20;
/// What attributes, ids and names may add to the data of a message.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// Why an event was not written to the outbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event cannot be published by anybody.
    #[error("the event {topic:?} cannot be published: {problem}")]
    Invalid {
        /// Its topic.
        topic: String,
        /// What is wrong.
        problem: String,
    },
    /// The database does not answer as it should.
    #[error("the outbox cannot be written")]
    Database(#[from] sqlx::Error),
}

/// Writes an event to the outbox of `schema`, in the caller's transaction. Returns false if its id is there already.
///
/// Rows that have been published are deleted, at once or some time later; an id written again after that is published
/// again, and told apart by the consumers' inboxes.
///
/// # Errors
/// The event breaks a rule of [`Event`] or is larger than [`MAX_MESSAGE_BYTES`], or the database fails.
pub async fn insert(conn: &mut PgConnection, schema: &'static str, event: &Event) -> Result<bool, Error> {
    check(event).map_err(|problem| Error::Invalid {
        topic: event.topic.clone(),
        problem,
    })?;
    // Schemas are constants of the program.
    let sql = format!(
        "insert into {schema}.outbox (id, created_at, topic, key, data, traceparent, attributes)
         values ($1, clock_timestamp(), $2, $3, $4, $5, $6)
         on conflict on constraint outbox_pkey do nothing"
    );
    let attributes = (!event.attributes.is_empty()).then_some(Json(&event.attributes));
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(event.id)
        .bind(&event.topic)
        .bind(&event.key)
        .bind(&event.data)
        .bind(&event.traceparent)
        .bind(attributes)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn check(event: &Event) -> Result<(), String> {
    topic::check(&event.topic)?;
    if event.key.is_empty() || event.key.len() > MAX_KEY_BYTES {
        return Err("a key has 1 to 200 bytes".to_owned());
    }
    let mut bytes = event.data.to_string().len();
    for (name, value) in &event.attributes {
        let named = (1..=MAX_ATTRIBUTE_NAME_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && !RESERVED.contains(&name.as_str());
        if !named {
            return Err(format!("{name:?} is no name of an extension attribute"));
        }
        bytes += name.len() + value.len();
    }
    if bytes > MAX_MESSAGE_BYTES - ENVELOPE_BYTES {
        return Err(format!("{bytes} bytes are too much"));
    }
    Ok(())
}

/// A row that has not been published.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) event: Event,
    pub(crate) created_at: DateTime<Utc>,
    /// Attempts so far that no queue took, or that the broker refused.
    pub(crate) tries: i32,
}

/// Statements on the outbox of one schema.
#[derive(Debug)]
pub(crate) struct Outbox {
    heads: String,
    rows: String,
    mark: String,
    delete: String,
    postpone: String,
    sweep: String,
    age: String,
}

impl Outbox {
    pub(crate) fn new(schema: &'static str) -> Self {
        Self {
            // A key belongs to whoever holds the lock on its oldest row: the next one is no head before that row is
            // published. So several relays share the table and still keep the order of each key.
            heads: format!(
                "select o.key from {schema}.outbox o
                 where o.published_at is null and (o.next_try is null or o.next_try <= statement_timestamp())
                    and o.seq = (
                        select e.seq from {schema}.outbox e where e.key = o.key and e.published_at is null
                        order by e.seq limit 1
                    )
                 order by o.seq limit $1
                 for update of o skip locked"
            ),
            rows: format!(
                "select id, topic, key, data, traceparent, attributes, created_at, tries from (
                    select *, sum(octet_length(data::text)) over (order by seq) - octet_length(data::text) as before
                    from (
                        select r.* from unnest($1::text[]) k (key) cross join lateral (
                            select * from {schema}.outbox o where o.key = k.key and o.published_at is null
                            order by o.seq limit $2
                        ) r
                        order by r.seq limit $3
                    ) oldest
                 ) sized
                 where before < $4 order by seq"
            ),
            mark: format!(
                "update {schema}.outbox set published_at = clock_timestamp(), next_try = null where id = any ($1)"
            ),
            delete: format!("delete from {schema}.outbox where id = any ($1)"),
            postpone: format!(
                "update {schema}.outbox o set next_try = clock_timestamp() + p.pause, tries = o.tries + 1
                 from unnest($1::uuid[], $2::interval[]) p (id, pause) where o.id = p.id"
            ),
            // By place: whatever the planner thinks of the table, a row is found without reading the others.
            sweep: format!(
                "delete from {schema}.outbox where ctid = any (array(
                    select ctid from {schema}.outbox
                    where published_at is not null and published_at <= statement_timestamp() - $1::interval
                    order by published_at limit $2
                    for update skip locked
                 ))"
            ),
            age: format!(
                "select count(*), coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 from (
                    select created_at from {schema}.outbox where published_at is null order by seq limit $1
                 ) waiting"
            ),
        }
    }

    /// Begins a transaction in which rows are found through their indexes. A plan that was made while the table was empty is
    /// kept, and is quadratic when the broker has been away for a while.
    ///
    /// Its commit does not wait for the disk: if the server dies before the log is there, rows that were published are
    /// published again, with the same ids, as when the relay dies.
    pub(crate) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        pool.begin_with(
            "begin isolation level read committed; set local synchronous_commit = off; set local enable_seqscan = off; \
             set local enable_bitmapscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off",
        )
        .await
    }

    /// Takes the keys of up to `keys` rows that may be published now. They are ours until the transaction ends.
    pub(crate) async fn heads(&self, conn: &mut PgConnection, keys: i64) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(AssertSqlSafe(self.heads.as_str()))
            .bind(keys)
            .fetch_all(conn)
            .await
    }

    /// Reads unpublished rows of keys that are ours, oldest first: up to `of_a_key` of each, up to `limit` of all, and up to
    /// `bytes` of data and one row.
    pub(crate) async fn rows(
        &self,
        conn: &mut PgConnection,
        keys: &[String],
        of_a_key: i64,
        limit: i64,
        bytes: i64,
    ) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query(AssertSqlSafe(self.rows.as_str()))
            .bind(keys)
            .bind(of_a_key)
            .bind(limit)
            .bind(bytes)
            .fetch_all(conn)
            .await?
            .iter()
            .map(row)
            .collect()
    }

    /// Notes that rows have been published: marks them, or deletes them if they are not to be kept.
    pub(crate) async fn published(
        &self,
        conn: &mut PgConnection,
        ids: &[Uuid],
        keep: bool,
    ) -> Result<(), sqlx::Error> {
        let sql = if keep { &self.mark } else { &self.delete };
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(ids)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Lets rows, and with them their keys, rest for a while.
    pub(crate) async fn postpone(
        &self,
        conn: &mut PgConnection,
        rows: &[(Uuid, Duration)],
    ) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
        let pauses: Vec<Duration> = rows.iter().map(|(_, pause)| *pause).collect();
        sqlx::query(AssertSqlSafe(self.postpone.as_str()))
            .bind(ids)
            .bind(pauses)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Deletes up to `limit` rows that were published before `keep`; returns how many.
    pub(crate) async fn sweep(&self, pool: &PgPool, keep: Duration, limit: i64) -> Result<u64, sqlx::Error> {
        let mut tx = Self::begin(pool).await?;
        let done = sqlx::query(AssertSqlSafe(self.sweep.as_str()))
            .bind(keep)
            .bind(limit)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// Returns how many rows wait, counted up to `limit`, and the age of the oldest in seconds.
    pub(crate) async fn age(&self, pool: &PgPool, limit: i64) -> Result<(i64, f64), sqlx::Error> {
        sqlx::query_as(AssertSqlSafe(self.age.as_str()))
            .persistent(false)
            .bind(limit)
            .fetch_one(pool)
            .await
    }
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let attributes: Option<Value> = row.try_get("attributes")?;
    Ok(Row {
        event: Event {
            id: row.try_get("id")?,
            topic: row.try_get("topic")?,
            key: row.try_get("key")?,
            data: row.try_get::<Value, _>("data")?,
            traceparent: row.try_get("traceparent")?,
            attributes: attributes.map(texts).unwrap_or_default(),
        },
        created_at: row.try_get("created_at")?,
        tries: row.try_get("tries")?,
    })
}

/// Attributes are written as text; anything else in the column must not stop the others.
fn texts(attributes: Value) -> BTreeMap<String, String> {
    let Value::Object(object) = attributes else {
        return BTreeMap::new();
    };
    object
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_could_publish_is_refused() {
        let good = Event::new("quota.low", "user_1", json!({}));
        assert_eq!(check(&good), Ok(()));
        assert_eq!(
            check(&good.clone().with_attribute("completiontoken", "t")),
            Ok(())
        );
        for bad in [
            Event::new("low", "k", json!({})),
            Event::new("quota.low", "", json!({})),
            Event::new("quota.low", "k".repeat(201), json!({})),
            Event::new("quota.low", "k", json!("x".repeat(MAX_MESSAGE_BYTES))),
            good.clone().with_attribute("traceparent", "t"),
            good.clone().with_attribute("Token", "t"),
            good.with_attribute("x".repeat(21), "t"),
        ] {
            assert!(check(&bad).is_err(), "{}", bad.topic);
        }
    }
}
