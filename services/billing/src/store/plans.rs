//! The tables `plans` and `plan_versions`.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::{CNY, Offer, PlanKind};

/// Most plans that a list holds.
const MAX_PLANS: i64 = 500;

/// A plan in one of its versions.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) plan_id: String,
    pub(crate) version: i32,
    pub(crate) offer: Offer,
    pub(crate) currency: String,
    /// This version can be bought.
    pub(crate) on_sale: bool,
    pub(crate) published_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Plan {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        let kind = PlanKind::from_name(kind)
            .ok_or_else(|| row::decode(format!("no kind of plan is named {kind:?}")))?;
        Ok(Self {
            plan_id: row.try_get("plan_id")?,
            version: row.try_get("version")?,
            offer: Offer {
                kind,
                title: row.try_get("title")?,
                description: row.try_get("description")?,
                amount: row.try_get("amount")?,
                quota: row.try_get("quota")?,
                quota_days: row.try_get("quota_days")?,
                tier: row.try_get("tier")?,
                membership_days: row.try_get("membership_days")?,
                needs_device: row.try_get("needs_device")?,
            },
            currency: row.try_get("currency")?,
            on_sale: row.try_get("on_sale")?,
            published_at: row.try_get("published_at")?,
        })
    }
}

/// Finds a version of a plan; the one that is offered if none is named.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    plan_id: &str,
    version: Option<i32>,
) -> Result<Option<Plan>, sqlx::Error> {
    sqlx::query_as(
        "select v.*, p.on_sale and v.version = p.version as on_sale
         from plans p join plan_versions v on v.plan_id = p.id and v.version = coalesce($2, p.version)
         where p.id = $1",
    )
    .bind(plan_id)
    .bind(version)
    .fetch_optional(db)
    .await
}

/// Lists the plans by id, each in the version that is offered.
pub(crate) async fn list(db: impl PgExecutor<'_>, with_retired: bool) -> Result<Vec<Plan>, sqlx::Error> {
    sqlx::query_as(
        "select v.*, p.on_sale from plans p
         join plan_versions v on v.plan_id = p.id and v.version = p.version
         where p.on_sale or $1
         order by p.id limit $2",
    )
    .bind(with_retired)
    .bind(MAX_PLANS)
    .fetch_all(db)
    .await
}

/// Makes a plan that has its first version to come, or locks the one that is there. Returns the version that is offered;
/// `None` of a new plan.
pub(crate) async fn make_or_lock(conn: &mut PgConnection, plan_id: &str) -> Result<Option<i32>, sqlx::Error> {
    let made = sqlx::query(
        "insert into plans (id, version, on_sale) values ($1, 1, true)
         on conflict on constraint plans_pkey do nothing",
    )
    .bind(plan_id)
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 1 {
        return Ok(None);
    }
    sqlx::query_scalar("select version from plans where id = $1 for update")
        .bind(plan_id)
        .fetch_one(conn)
        .await
        .map(Some)
}

/// Writes a version. The plan is to be locked before.
pub(crate) async fn insert_version(
    conn: &mut PgConnection,
    plan_id: &str,
    version: i32,
    offer: &Offer,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
             tier, membership_days, needs_device)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(plan_id)
    .bind(version)
    .bind(offer.kind.name())
    .bind(&offer.title)
    .bind(&offer.description)
    .bind(offer.amount)
    .bind(CNY)
    .bind(offer.quota)
    .bind(offer.quota_days)
    .bind(&offer.tier)
    .bind(offer.membership_days)
    .bind(offer.needs_device)
    .execute(conn)
    .await?;
    Ok(())
}

/// Offers a version of a plan.
pub(crate) async fn put_on_sale(
    conn: &mut PgConnection,
    plan_id: &str,
    version: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update plans set version = $2, on_sale = true, updated_at = clock_timestamp()
         where id = $1 and (version <> $2 or not on_sale)",
    )
    .bind(plan_id)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a plan off sale. Nothing happens if it is, or is not there.
pub(crate) async fn retire(db: impl PgExecutor<'_>, plan_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update plans set on_sale = false, updated_at = clock_timestamp() where id = $1 and on_sale")
        .bind(plan_id)
        .execute(db)
        .await?;
    Ok(())
}
