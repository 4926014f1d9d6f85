//! What the revocation of a membership changes of `memberships`, `membership_periods` and `membership_history`.

use chrono::{DateTime, Utc};
use ids::{OrderId, RefundId, UserId};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A period that an order has added, and the end of the membership that it is a part of.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Period {
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
}

/// Lists the tiers to which an order has added a period that stands, in their order.
pub(crate) async fn tiers(db: impl PgExecutor<'_>, order_id: OrderId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select tier from membership_periods where order_id = $1 and revoked_at is null order by tier",
    )
    .bind(order_id.uuid())
    .fetch_all(db)
    .await
}

/// Locks a membership until the end of the transaction, and returns its end.
pub(crate) async fn lock_membership(
    conn: &mut PgConnection,
    user_id: UserId,
    tier: &str,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar("select ends_at from memberships where user_id = $1 and tier = $2 for update")
        .bind(user_id.uuid())
        .bind(tier)
        .fetch_optional(conn)
        .await
}

/// Takes back what is left of a period; returns it as it was. `None` if it was taken back before.
///
/// The membership is to be locked before.
pub(crate) async fn revoke(
    conn: &mut PgConnection,
    order_id: OrderId,
    tier: &str,
    refund_id: RefundId,
    at: DateTime<Utc>,
) -> Result<Option<Period>, sqlx::Error> {
    sqlx::query_as(
        "with old as (
            select tier, starts_at, ends_at from membership_periods
            where order_id = $1 and tier = $2 and revoked_at is null for update
         ), changed as (
            update membership_periods p
            set revoked_at = $4, refund_id = $3, ends_at = least(p.ends_at, greatest(p.starts_at, $4))
            from old where p.order_id = $1 and p.tier = old.tier
         )
         select starts_at, ends_at from old",
    )
    .bind(order_id.uuid())
    .bind(tier)
    .bind(refund_id.uuid())
    .bind(at)
    .fetch_optional(conn)
    .await
}

/// Moves the periods that begin at `from` or later so much forward, so that no gap is left; and ends the membership so much
/// earlier. One that was taken back before it had begun is empty, and moves with them: it must not end after the membership.
pub(crate) async fn close_gap(
    conn: &mut PgConnection,
    (user_id, tier): (UserId, &str),
    from: DateTime<Utc>,
    micros: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with moved as (
            update membership_periods
            set starts_at = starts_at - $4 * interval '1 microsecond', ends_at = ends_at - $4 * interval '1 microsecond'
            where user_id = $1 and tier = $2 and starts_at >= $3
         )
         update memberships
         set ends_at = ends_at - $4 * interval '1 microsecond', updated_at = clock_timestamp()
         where user_id = $1 and tier = $2",
    )
    .bind(user_id.uuid())
    .bind(tier)
    .bind(from)
    .bind(micros)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a revocation into the history.
pub(crate) async fn record(
    conn: &mut PgConnection,
    (user_id, tier): (UserId, &str),
    (order_id, refund_id): (OrderId, RefundId),
    (before, after): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into membership_history (id, user_id, tier, kind, order_id, refund_id, ends_before, ends_after)
         values ($1, $2, $3, 'revoked', $4, $5, $6, $7)",
    )
    .bind(Uuid::now_v7())
    .bind(user_id.uuid())
    .bind(tier)
    .bind(order_id.uuid())
    .bind(refund_id.uuid())
    .bind(before)
    .bind(after)
    .execute(conn)
    .await?;
    Ok(())
}
