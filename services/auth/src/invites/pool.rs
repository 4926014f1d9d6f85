//! The pool, in SQL.

use ids::UserId;
use serde::Deserialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

/// Characters of a code: no 0 and O, no 1, I and L, nothing that spells words easily.
const ALPHABET: [char; 28] = [
    '2', '3', '4', '5', '6', '7', '8', '9', 'B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P', 'Q', 'R',
    'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];
/// 28^8 codes: with a million in use, one guess in 380,000 finds one.
const LENGTH: usize = 8;
/// Codes made in one statement.
const BATCH: u32 = 500;

/// Settings of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Free codes below which more are made.
    pub low: u32,
    /// Free codes up to which they are made; at least `low`.
    pub high: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            low: 1_000,
            high: 5_000,
        }
    }
}

/// Gives a user a code, in the caller's transaction; `None` if the pool is empty, or the user has one.
///
/// # Errors
/// The database does not do as asked.
pub async fn claim(conn: &mut PgConnection, user_id: UserId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update invite_code set user_id = $1, claimed_at = clock_timestamp()
         where code = (select code from invite_code where user_id is null order by code limit 1 for update skip locked)
           and not exists (select from invite_code where user_id = $1)
         returning code",
    )
    .bind(user_id.uuid())
    .fetch_optional(conn)
    .await
}

/// Returns whose code it is, whatever its case.
///
/// # Errors
/// The database does not do as asked.
pub async fn owner(db: impl PgExecutor<'_>, code: &str) -> Result<Option<UserId>, sqlx::Error> {
    if code.len() != LENGTH || !code.is_ascii() {
        return Ok(None);
    }
    let owner: Option<Uuid> =
        sqlx::query_scalar("select user_id from invite_code where code = $1 and user_id is not null")
            .bind(code.to_ascii_uppercase())
            .fetch_optional(db)
            .await?;
    Ok(owner.map(UserId::from_uuid))
}

/// Fills the pool if it is low, in batches; returns how many codes were made. Codes that exist already are left out, so that
/// a run may make fewer than it wanted, never loops, and the next one goes on.
///
/// # Errors
/// The database does not do as asked.
pub async fn refill(pool: &PgPool, config: &Config) -> Result<u64, sqlx::Error> {
    // No exact count of a large pool: only whether it is low.
    let free: i64 = sqlx::query_scalar(
        "select count(*) from (select from invite_code where user_id is null limit $1) free",
    )
    .bind(i64::from(config.high.max(config.low)))
    .fetch_one(pool)
    .await?;
    let free = u32::try_from(free).unwrap_or(u32::MAX);
    if free >= config.low {
        return Ok(0);
    }
    let mut wanted = config.high.max(config.low) - free;
    let mut made = 0;
    while wanted > 0 {
        let batch = wanted.min(BATCH);
        let codes: Vec<String> = (0..batch).map(|_| nanoid::nanoid!(LENGTH, &ALPHABET)).collect();
        made +=
            sqlx::query("insert into invite_code (code) select unnest($1::text[]) on conflict do nothing")
                .bind(codes)
                .execute(pool)
                .await?
                .rows_affected();
        wanted -= batch;
    }
    Ok(made)
}
