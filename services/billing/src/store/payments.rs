//! The table `payments`.

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::{Channel, PaymentStatus};

/// A payment.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) payment_no: String,
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) channel: Channel,
    pub(crate) channel_order_no: String,
    pub(crate) provider_no: Option<String>,
    pub(crate) payment_url: Option<String>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded_amount: i64,
    pub(crate) refunding_amount: i64,
    pub(crate) refunds: i32,
    pub(crate) status: PaymentStatus,
    /// Why it is being closed at the channel.
    pub(crate) closing: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) late: bool,
    pub(crate) saga_id: SagaId,
    /// The step whose barrier row guards the call to the channel; absent before it.
    pub(crate) saga_step: Option<String>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Payment {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            payment_no: row.try_get("payment_no")?,
            order_id: row::id(row, "order_id")?,
            user_id: row::id(row, "user_id")?,
            channel: row::channel(row)?,
            channel_order_no: row.try_get("channel_order_no")?,
            provider_no: row.try_get("provider_no")?,
            payment_url: row.try_get("payment_url")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            refunded_amount: row.try_get("refunded_amount")?,
            refunding_amount: row.try_get("refunding_amount")?,
            refunds: row.try_get("refunds")?,
            status: row::status(row)?,
            closing: row.try_get("closing")?,
            reason: row.try_get("reason")?,
            late: row.try_get("late")?,
            saga_id: row::id(row, "saga_id")?,
            saga_step: row.try_get("saga_step")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            paid_at: row.try_get("paid_at")?,
            closed_at: row.try_get("closed_at")?,
        })
    }
}

/// Finds a payment.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: PaymentId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as("select * from payments where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds a payment and locks it until the end of the transaction. Its order is to be locked before.
pub(crate) async fn lock(conn: &mut PgConnection, id: PaymentId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as("select * from payments where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Finds the payments of an order and locks them, oldest first. The order is to be locked before.
pub(crate) async fn lock_of_order(
    conn: &mut PgConnection,
    order_id: OrderId,
) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as("select * from payments where order_id = $1 order by id for update")
        .bind(order_id.uuid())
        .fetch_all(conn)
        .await
}
