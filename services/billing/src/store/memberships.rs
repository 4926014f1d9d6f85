//! The tables `memberships`, `membership_periods` and `membership_history`.

use chrono::{DateTime, Utc};
use ids::{OrderId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;

/// Most periods of a membership that a list holds: the last ones.
const MAX_PERIODS: i64 = 100;

/// A user's right to a tier.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) tier: String,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    /// It has begun and not ended, by the database's clock.
    pub(crate) active: bool,
}

impl FromRow<'_, PgRow> for Membership {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tier: row.try_get("tier")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            active: row.try_get("active")?,
        })
    }
}

/// What one order has added to a membership.
#[derive(Debug, Clone)]
pub(crate) struct Period {
    pub(crate) order_id: OrderId,
    pub(crate) tier: String,
    pub(crate) days: i32,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Period {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            order_id: row::id(row, "order_id")?,
            tier: row.try_get("tier")?,
            days: row.try_get("days")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }
}

/// Lists a user's memberships by tier.
pub(crate) async fn list(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Membership>, sqlx::Error> {
    sqlx::query_as(
        "select tier, starts_at, ends_at, clock_timestamp() >= starts_at and clock_timestamp() < ends_at as active
         from memberships where user_id = $1 order by tier",
    )
    .bind(user_id.uuid())
    .fetch_all(db)
    .await
}

/// Lists the last periods of each of a user's tiers, oldest first.
pub(crate) async fn periods(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Period>, sqlx::Error> {
    sqlx::query_as(
        "select * from (
            select p.*, row_number() over (partition by tier order by starts_at desc, created_at desc) as age
            from membership_periods p where user_id = $1
         ) numbered
         where age <= $2 order by tier, age desc",
    )
    .bind(user_id.uuid())
    .bind(MAX_PERIODS)
    .fetch_all(db)
    .await
}

/// Makes a membership that begins and ends at `at`, or finds the one that is there; locks it until the end of the transaction.
/// Returns when it starts and ends, and whether it is new.
pub(crate) async fn make_or_lock(
    conn: &mut PgConnection,
    user_id: UserId,
    tier: &str,
    at: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>, bool), sqlx::Error> {
    let made = sqlx::query(
        "insert into memberships (user_id, tier, starts_at, ends_at) values ($1, $2, $3, $3)
         on conflict on constraint memberships_pkey do nothing",
    )
    .bind(user_id.uuid())
    .bind(tier)
    .bind(at)
    .execute(&mut *conn)
    .await?;
    let (starts_at, ends_at): (DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(
        "select starts_at, ends_at from memberships where user_id = $1 and tier = $2 for update",
    )
    .bind(user_id.uuid())
    .bind(tier)
    .fetch_one(conn)
    .await?;
    Ok((starts_at, ends_at, made.rows_affected() == 1))
}

/// A period to be added.
#[derive(Debug)]
pub(crate) struct NewPeriod<'a> {
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) tier: &'a str,
    pub(crate) days: i32,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
}

/// Writes a period. False if the order has added one before. The membership is to be locked before.
pub(crate) async fn insert_period(conn: &mut PgConnection, new: &NewPeriod<'_>) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into membership_periods (order_id, user_id, tier, days, starts_at, ends_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict on constraint membership_periods_pkey do nothing",
    )
    .bind(new.order_id.uuid())
    .bind(new.user_id.uuid())
    .bind(new.tier)
    .bind(new.days)
    .bind(new.starts_at)
    .bind(new.ends_at)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Writes when a membership starts and ends, and into its history that an order made it so. `ends_before` is absent of a
/// membership that was not there.
pub(crate) async fn extend(
    conn: &mut PgConnection,
    new: &NewPeriod<'_>,
    starts_at: DateTime<Utc>,
    kind: &'static str,
    ends_before: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with changed as (
            update memberships set starts_at = $3, ends_at = $4, updated_at = clock_timestamp()
            where user_id = $1 and tier = $2
         )
         insert into membership_history (id, user_id, tier, kind, order_id, ends_before, ends_after)
         values ($5, $1, $2, $6, $7, $8, $4)",
    )
    .bind(new.user_id.uuid())
    .bind(new.tier)
    .bind(starts_at)
    .bind(new.ends_at)
    .bind(Uuid::now_v7())
    .bind(kind)
    .bind(new.order_id.uuid())
    .bind(ends_before)
    .execute(conn)
    .await?;
    Ok(())
}
