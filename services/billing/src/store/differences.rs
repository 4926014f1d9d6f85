//! The table `statement_differences`.

use chrono::{DateTime, NaiveDate, Utc};
use ids::DifferenceId;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::{Channel, Difference, DifferenceKind};

/// A difference that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) id: DifferenceId,
    pub(crate) channel: Channel,
    pub(crate) day: NaiveDate,
    pub(crate) kind: DifferenceKind,
    pub(crate) subject: String,
    pub(crate) number: String,
    pub(crate) ours_minor: Option<i64>,
    pub(crate) theirs_minor: Option<i64>,
    pub(crate) detail: String,
    pub(crate) resolved_at: Option<DateTime<Utc>>,
    pub(crate) resolved_by: Option<String>,
    pub(crate) note: Option<String>,
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        Ok(Self {
            id: row::id(row, "id")?,
            channel: row::channel(row)?,
            day: row.try_get("day")?,
            kind: DifferenceKind::from_name(kind)
                .ok_or_else(|| row::decode(format!("no difference is named {kind:?}")))?,
            subject: row.try_get("subject")?,
            number: row.try_get("number")?,
            ours_minor: row.try_get("ours_minor")?,
            theirs_minor: row.try_get("theirs_minor")?,
            detail: row.try_get("detail")?,
            resolved_at: row.try_get("resolved_at")?,
            resolved_by: row.try_get("resolved_by")?,
            note: row.try_get("note")?,
        })
    }
}

/// Of which import differences are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Import {
    pub(crate) channel: Channel,
    pub(crate) day: NaiveDate,
    pub(crate) import_id: Uuid,
}

/// Writes differences of one subject, each with the number that it is of. One that was known is brought up to date; a
/// resolved one stays as it is.
pub(crate) async fn put(
    conn: &mut PgConnection,
    import: &Import,
    subject: &str,
    found: &[(String, Difference)],
) -> Result<(), sqlx::Error> {
    if found.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = found.iter().map(|_| DifferenceId::new().uuid()).collect();
    let kinds: Vec<&str> = found
        .iter()
        .map(|(_, difference)| difference.kind.name())
        .collect();
    let numbers: Vec<String> = found.iter().map(|(number, _)| number.clone()).collect();
    let ours: Vec<Option<i64>> = found.iter().map(|(_, difference)| difference.ours).collect();
    let theirs: Vec<Option<i64>> = found.iter().map(|(_, difference)| difference.theirs).collect();
    let details: Vec<String> = found
        .iter()
        .map(|(_, difference)| difference.detail.clone())
        .collect();
    sqlx::query(
        "insert into statement_differences
             (id, channel, day, kind, subject, number, ours_minor, theirs_minor, detail, import_id)
         select f.id, $1, $2, f.kind, $3, f.number, f.ours, f.theirs, f.detail, $4
         from unnest($5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::text[])
             as f (id, kind, number, ours, theirs, detail)
         on conflict on constraint statement_differences_once
         do update set ours_minor = excluded.ours_minor, theirs_minor = excluded.theirs_minor,
             detail = excluded.detail, import_id = excluded.import_id
         where statement_differences.resolved_at is null",
    )
    .bind(import.channel.name())
    .bind(import.day)
    .bind(subject)
    .bind(import.import_id)
    .bind(&ids)
    .bind(&kinds)
    .bind(&numbers)
    .bind(&ours)
    .bind(&theirs)
    .bind(&details)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes differences of a day that its last import did not find any more. Those that a person has resolved stay.
pub(crate) async fn delete_others(conn: &mut PgConnection, import: &Import) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "delete from statement_differences
         where channel = $1 and day = $2 and import_id <> $3 and resolved_at is null",
    )
    .bind(import.channel.name())
    .bind(import.day)
    .bind(import.import_id)
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// Returns differences, newest first.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    channel: Option<Channel>,
    include_resolved: bool,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Found>, sqlx::Error> {
    sqlx::query_as(
        "select * from statement_differences
         where ($1::text is null or channel = $1) and ($2 or resolved_at is null) and id < $3
         order by id desc limit $4",
    )
    .bind(channel.map(Channel::name))
    .bind(include_resolved)
    .bind(before.unwrap_or(Uuid::max()))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Tells whether there is such a difference, resolved or not.
pub(crate) async fn exists(db: impl PgExecutor<'_>, id: DifferenceId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from statement_differences where id = $1)")
        .bind(id.uuid())
        .fetch_one(db)
        .await
}

/// Marks a difference as explained; `None` if it is, or if there is none.
pub(crate) async fn resolve(
    conn: &mut PgConnection,
    id: DifferenceId,
    by: &str,
    note: &str,
) -> Result<Option<Found>, sqlx::Error> {
    sqlx::query_as(
        "update statement_differences
         set resolved_at = clock_timestamp(), resolved_by = $2, note = $3
         where id = $1 and resolved_at is null returning *",
    )
    .bind(id.uuid())
    .bind(by)
    .bind(note)
    .fetch_optional(conn)
    .await
}
