//! The table `order_lines`: what orders grant.

use ids::OrderId;
use sqlx::{PgConnection, PgExecutor};

/// Quota is granted.
pub(crate) const QUOTA: &str = "QUOTA";
/// A membership is opened.
pub(crate) const MEMBERSHIP: &str = "MEMBERSHIP";

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Line {
    pub(crate) line: i32,
    pub(crate) kind: String,
    pub(crate) title: String,
    /// Units of quota, or days.
    pub(crate) quantity: i64,
    /// Of a membership.
    pub(crate) tier: Option<String>,
    /// QUOTA: days until what was granted is lost; 0: never.
    pub(crate) expires_after_days: i32,
}

/// Writes the lines of a new order.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    order_id: OrderId,
    lines: &[Line],
) -> Result<(), sqlx::Error> {
    for line in lines {
        sqlx::query(
            "insert into order_lines (order_id, line, kind, title, quantity, tier, expires_after_days)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(order_id.uuid())
        .bind(line.line)
        .bind(&line.kind)
        .bind(&line.title)
        .bind(line.quantity)
        .bind(&line.tier)
        .bind(line.expires_after_days)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Returns the lines of an order in their order.
pub(crate) async fn of_order(db: impl PgExecutor<'_>, order_id: OrderId) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as(
        "select line, kind, title, quantity, tier, expires_after_days from order_lines
         where order_id = $1 order by line",
    )
    .bind(order_id.uuid())
    .fetch_all(db)
    .await
}
