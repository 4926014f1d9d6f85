//! Dead letters: messages that could not be applied. They stay until a person sends them back or drops them.
//!
//! They are rows of `events.dead_letter`, whichever broker is used; each act of a person is a row of
//! `events.dead_letter_audit`, which is only ever added to.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use crate::cloudevent;

/// Longest reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 2_000;

/// A message on its way to the dead letters.
#[derive(Debug, Clone)]
pub(crate) struct Corpse {
    pub(crate) queue: String,
    pub(crate) body: Vec<u8>,
    pub(crate) reason: String,
    pub(crate) deliveries: u32,
}

impl Corpse {
    pub(crate) fn of(queue: &str, body: Vec<u8>, reason: String, deliveries: u32) -> Self {
        Self {
            queue: queue.to_owned(),
            body,
            // Postgres keeps no NUL.
            reason: reason.replace('\0', "").chars().take(MAX_REASON_CHARS).collect(),
            deliveries,
        }
    }
}

/// Writes a dead letter, once for each message and queue.
pub(crate) async fn bury(db: impl PgExecutor<'_>, corpse: &Corpse) -> Result<(), sqlx::Error> {
    let received = cloudevent::decode(&corpse.body).ok();
    let known = received.as_ref();
    sqlx::query(
        "insert into events.dead_letter (id, queue, fingerprint, topic, event_id, key, reason, deliveries, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint dead_letter_once do update set
            reason = excluded.reason,
            deaths = dead_letter.deaths + 1,
            deliveries = excluded.deliveries,
            died_at = excluded.died_at",
    )
    .bind(Uuid::now_v7())
    .bind(&corpse.queue)
    .bind(Sha256::digest(&corpse.body).to_vec())
    .bind(known.map(|received| received.topic.as_str()))
    .bind(known.map(|received| received.id.as_str()))
    .bind(known.and_then(|received| received.key.as_deref()))
    .bind(&corpse.reason)
    .bind(i32::try_from(corpse.deliveries).unwrap_or(i32::MAX))
    .bind(&corpse.body)
    .execute(db)
    .await?;
    Ok(())
}

/// A message that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Identity of the dead letter; later ones have greater ids.
    pub id: Uuid,
    /// Queue it died in.
    pub queue: String,
    /// Its topic, if it could be read.
    pub topic: Option<String>,
    /// Its id, if it could be read.
    pub event_id: Option<String>,
    /// Its partition key, if it could be read and had one.
    pub key: Option<String>,
    /// Why it died.
    pub reason: String,
    /// Deliveries before it died.
    pub deliveries: i32,
    /// How often it has died, at least 1.
    pub deaths: i32,
    /// When it died last, by the database's clock.
    pub died_at: DateTime<Utc>,
    /// When a person asked to send it back; it goes within a second while any process runs.
    pub replay_at: Option<DateTime<Utc>>,
    /// The message as it was delivered.
    pub body: Vec<u8>,
}

/// What a person did with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// `replay` or `drop`.
    pub action: String,
    /// Why.
    pub note: String,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this queue only.
    pub queue: Option<String>,
    /// After this one.
    pub after: Option<Uuid>,
}

const LETTER: &str =
    "select id, queue, topic, event_id, key, reason, deliveries, deaths, died_at, replay_at, body
    from events.dead_letter";

/// Returns up to `limit` dead letters, oldest first. The next page begins after the last one's id.
///
/// # Errors
/// If the database does not answer.
pub async fn list(db: impl PgExecutor<'_>, filter: &Filter, limit: u16) -> Result<Vec<Letter>, sqlx::Error> {
    let sql = letters_where(
        "where ($1::text is null or queue = $1) and ($2::uuid is null or id > $2) order by id limit $3",
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&filter.queue)
        .bind(filter.after)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?
        .iter()
        .map(letter)
        .collect()
}

/// Returns one dead letter.
///
/// # Errors
/// If the database does not answer.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Letter>, sqlx::Error> {
    let sql = letters_where("where id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(letter).transpose()
}

fn letters_where(condition: &str) -> String {
    format!("{LETTER} {condition}")
}

/// Returns what people did with a dead letter, oldest first; also of one that is gone.
///
/// # Errors
/// If the database does not answer.
pub async fn acts(db: impl PgExecutor<'_>, id: Uuid) -> Result<Vec<Act>, sqlx::Error> {
    sqlx::query(
        "select at, actor, action, note from events.dead_letter_audit where dead_letter_id = $1 order by at, id",
    )
    .bind(id)
    .fetch_all(db)
    .await?
    .iter()
    .map(|row| {
        Ok(Act {
            at: row.try_get("at")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            note: row.try_get("note")?,
        })
    })
    .collect()
}

/// Asks that dead letters be sent back to their queues; returns the ids of those found that were not asked for already.
///
/// They leave the dead letters when the queue has them. What was applied before is not applied again.
///
/// # Errors
/// If the database does not answer; nothing has changed then.
pub async fn replay(
    conn: &mut PgConnection,
    ids: &[Uuid],
    actor: &str,
    note: &str,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "with asked as (
            update events.dead_letter set replay_at = clock_timestamp() where id = any ($1) and replay_at is null
            returning id, queue, topic, event_id, reason
         ), told as (
            insert into events.dead_letter_audit (id, actor, action, note, dead_letter_id, queue, topic, event_id, reason)
            select gen_random_uuid(), $2, 'replay', $3, id, queue, topic, event_id, reason from asked
         )
         select id from asked order by id",
    )
    .bind(ids)
    .bind(actor)
    .bind(note)
    .fetch_all(conn)
    .await
}

/// Drops dead letters for good; returns the ids of those found. The audit keeps what they held.
///
/// # Errors
/// If the database does not answer, or `note` or `actor` is empty; nothing has changed then.
pub async fn discard(
    conn: &mut PgConnection,
    ids: &[Uuid],
    actor: &str,
    note: &str,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "with gone as (
            delete from events.dead_letter where id = any ($1)
            returning id, queue, topic, event_id, reason, body
         ), told as (
            insert into events.dead_letter_audit
                (id, actor, action, note, dead_letter_id, queue, topic, event_id, reason, body)
            select gen_random_uuid(), $2, 'drop', $3, id, queue, topic, event_id, reason, body from gone
         )
         select id from gone order by id",
    )
    .bind(ids)
    .bind(actor)
    .bind(note)
    .fetch_all(conn)
    .await
}

/// Takes up to `limit` dead letters that are to be sent back. They are ours until the transaction ends.
pub(crate) async fn wanted_back(conn: &mut PgConnection, limit: i64) -> Result<Vec<Letter>, sqlx::Error> {
    let sql =
        letters_where("where replay_at is not null order by replay_at, id limit $1 for update skip locked");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(limit)
        .fetch_all(conn)
        .await?
        .iter()
        .map(letter)
        .collect()
}

pub(crate) async fn sent_back(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from events.dead_letter where id = any ($1)")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Leaves letters whose queue is gone among the dead, and says so.
pub(crate) async fn stranded(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update events.dead_letter
         set replay_at = null, reason = left('its queue is gone, so it was not sent back; before: ' || reason, 2000)
         where id = any ($1)",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts the dead letters of each queue.
pub(crate) async fn counts(db: impl PgExecutor<'_>) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select queue, count(*) from events.dead_letter group by queue")
        .fetch_all(db)
        .await
}

fn letter(row: &PgRow) -> Result<Letter, sqlx::Error> {
    Ok(Letter {
        id: row.try_get("id")?,
        queue: row.try_get("queue")?,
        topic: row.try_get("topic")?,
        event_id: row.try_get("event_id")?,
        key: row.try_get("key")?,
        reason: row.try_get("reason")?,
        deliveries: row.try_get("deliveries")?,
        deaths: row.try_get("deaths")?,
        died_at: row.try_get("died_at")?,
        replay_at: row.try_get("replay_at")?,
        body: row.try_get("body")?,
    })
}
