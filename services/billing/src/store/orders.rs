//! The table `orders`.

use chrono::{DateTime, Utc};
use ids::{OrderId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::OrderStatus;

/// An order.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) order_number: String,
    pub(crate) user_id: UserId,
    pub(crate) plan_id: String,
    pub(crate) plan_version: i32,
    pub(crate) device_id: Option<String>,
    pub(crate) amount: i64,
    pub(crate) final_amount: i64,
    pub(crate) refunded_amount: i64,
    pub(crate) currency: String,
    pub(crate) status: OrderStatus,
    /// Why its payments are being closed: USER, EXPIRED, SAGA.
    pub(crate) cancelling: Option<String>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) saga_id: SagaId,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) cancelled_at: Option<DateTime<Utc>>,
    pub(crate) refunded_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Order {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            order_number: row.try_get("order_number")?,
            user_id: row::id(row, "user_id")?,
            plan_id: row.try_get("plan_id")?,
            plan_version: row.try_get("plan_version")?,
            device_id: row.try_get("device_id")?,
            amount: row.try_get("amount")?,
            final_amount: row.try_get("final_amount")?,
            refunded_amount: row.try_get("refunded_amount")?,
            currency: row.try_get("currency")?,
            status: row::status(row)?,
            cancelling: row.try_get("cancelling")?,
            cancel_reason: row.try_get("cancel_reason")?,
            saga_id: row::id(row, "saga_id")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            paid_at: row.try_get("paid_at")?,
            completed_at: row.try_get("completed_at")?,
            cancelled_at: row.try_get("cancelled_at")?,
            refunded_at: row.try_get("refunded_at")?,
        })
    }
}

/// Finds an order.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds an order and locks it until the end of the transaction.
pub(crate) async fn lock(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}
