//! All SQL on `saga.definition`.

use saga_definition::{Definition, Retry, Step};
use saga_engine::DefinitionId;
use sqlx::postgres::PgRow;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Row};

use crate::definitions::compiled::EPILOGUE;

/// A registered revision as stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id.
    pub id: DefinitionId,
    /// Name of the definition.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Revision of the version, from 1.
    pub revision: u32,
    /// SHA-256 over the canonical text and the types.
    pub hash: [u8; 32],
    /// Canonical text.
    pub canonical: String,
    /// The types it uses, as an encoded `FileDescriptorSet`.
    pub closure: Vec<u8>,
    /// Whether new sagas may be started with it.
    pub active: bool,
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
    /// Who registered it.
    pub registered_by: String,
    /// Full name of the input's type.
    pub input_type: String,
    /// Names of the steps, in order.
    pub steps: Vec<String>,
}

/// Where a page of definitions ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageKey {
    /// Name of the last definition.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its revision.
    pub revision: u32,
}

/// A revision to be stored.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) hash: [u8; 32],
    pub(crate) revision: u32,
    pub(crate) source: &'a str,
    pub(crate) actor: &'a str,
}

impl<'r> FromRow<'r, PgRow> for Stored {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let unreadable = |column: &str, what: String| sqlx::Error::ColumnDecode {
            index: column.to_owned(),
            source: what.into(),
        };
        let number = |column: &str| -> Result<u32, sqlx::Error> {
            let value: i32 = row.try_get(column)?;
            u32::try_from(value).map_err(|_| unreadable(column, format!("{value} is negative")))
        };
        let hash: Vec<u8> = row.try_get("hash")?;
        Ok(Self {
            id: DefinitionId(row.try_get("id")?),
            name: row.try_get("name")?,
            version: number("version")?,
            revision: number("revision")?,
            hash: hash
                .try_into()
                .map_err(|hash: Vec<u8>| unreadable("hash", format!("it has {} bytes", hash.len())))?,
            canonical: row.try_get("canonical")?,
            closure: row.try_get("closure")?,
            active: row.try_get("active")?,
            registered_at: row.try_get("registered_at")?,
            registered_by: row.try_get("registered_by")?,
            input_type: row.try_get("input_type")?,
            steps: row.try_get("steps")?,
        })
    }
}

/// Postgres has no unsigned integers; versions and revisions are far below the border.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// For each step the positions of those it comes after, as JSON; `None` if each comes after the one before it.
fn after(steps: &[Step]) -> Option<String> {
    let chain = |(index, step): (usize, &Step)| step.after.iter().copied().eq(index.checked_sub(1));
    if steps.iter().enumerate().all(chain) {
        return None;
    }
    let after: Vec<&[usize]> = steps.iter().map(|step| step.after.as_slice()).collect();
    Some(format!("{after:?}"))
}

/// What is repeated without end has the greatest number.
fn max_retries(retry: Retry) -> i32 {
    retry.retries.map_or(i32::MAX, signed)
}

pub(crate) async fn by_id(pool: &PgPool, id: DefinitionId) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as(
        "select id, name, version, revision, hash, canonical, closure, active, registered_at, registered_by,
                input_type, steps
         from saga.definition where id = $1",
    )
    .bind(id.0)
    .fetch_optional(pool)
    .await
}

pub(crate) async fn highest_active(pool: &PgPool, name: &str) -> Result<Option<DefinitionId>, sqlx::Error> {
    let id: Option<i64> = sqlx::query_scalar(
        "select id from saga.definition where name = $1 and active
         order by version desc, revision desc limit 1",
    )
    .bind(name)
    .fetch_optional(pool)
    .await?;
    Ok(id.map(DefinitionId))
}

/// All revisions of a version, oldest first.
pub(crate) async fn revisions(pool: &PgPool, name: &str, version: u32) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as(
        "select id, name, version, revision, hash, canonical, closure, active, registered_at, registered_by,
                input_type, steps
         from saga.definition where name = $1 and version = $2 order by revision",
    )
    .bind(name)
    .bind(signed(version))
    .fetch_all(pool)
    .await
}

/// Stores a revision, not active. `None` if the revision number was taken in between.
pub(crate) async fn insert(pool: &PgPool, new: &New<'_>) -> Result<Option<Stored>, sqlx::Error> {
    let definition = new.definition;
    let steps = definition.steps();
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let compensated: Vec<bool> = steps.iter().map(|step| step.compensate.is_some()).collect();
    let max_retries: Vec<i32> = steps.iter().map(|step| max_retries(step.call.retry)).collect();
    sqlx::query_as(
        "insert into saga.definition (name, version, revision, hash, canonical, closure, source, registered_by,
                                      input_type, steps, compensated, max_retries, epilogue, after)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::jsonb)
         on conflict on constraint definition_name_version_revision do nothing
         returning id, name, version, revision, hash, canonical, closure, active, registered_at, registered_by,
                   input_type, steps",
    )
    .bind(definition.name())
    .bind(signed(definition.version()))
    .bind(signed(new.revision))
    .bind(new.hash.as_slice())
    .bind(definition.canonical())
    .bind(definition.closure())
    .bind(new.source)
    .bind(new.actor)
    .bind(definition.input().full_name())
    .bind(names)
    .bind(compensated)
    .bind(max_retries)
    .bind(definition.on_compensated().map(|_| EPILOGUE))
    .bind(after(steps))
    .fetch_optional(pool)
    .await
}

/// Makes exactly the latest revision of a version active, or none; returns the latest.
pub(crate) async fn activate(
    pool: &PgPool,
    name: &str,
    version: u32,
    active: bool,
) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as(
        "with latest as (
             select id from saga.definition where name = $1 and version = $2 order by revision desc limit 1
         ), changed as (
             update saga.definition d set active = ($3 and d.id = latest.id)
             from latest where d.name = $1 and d.version = $2
             returning d.id, d.name, d.version, d.revision, d.hash, d.canonical, d.closure, d.active,
                       d.registered_at, d.registered_by, d.input_type, d.steps
         )
         select changed.* from changed join latest using (id)",
    )
    .bind(name)
    .bind(signed(version))
    .bind(active)
    .fetch_optional(pool)
    .await
}

/// How many revisions there are, and the greatest id. They are only ever added.
pub(crate) async fn census(pool: &PgPool) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("select count(*), coalesce(max(id), 0) from saga.definition")
        .fetch_one(pool)
        .await
}

/// A page by (name, version, revision); `name` empty lists all.
pub(crate) async fn list(
    pool: &PgPool,
    name: &str,
    after: Option<&PageKey>,
    limit: u32,
) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as(
        "select id, name, version, revision, hash, canonical, closure, active, registered_at, registered_by,
                input_type, steps
         from saga.definition
         where ($1 = '' or name = $1) and ($2::text is null or (name, version, revision) > ($2, $3, $4))
         order by name, version, revision
         limit $5",
    )
    .bind(name)
    .bind(after.map(|key| key.name.as_str()))
    .bind(after.map_or(0, |key| signed(key.version)))
    .bind(after.map_or(0, |key| signed(key.revision)))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
}
