//! The table `refunds`.

use chrono::{DateTime, Utc};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};

use super::row;
use crate::domain::RefundStatus;

/// A refund.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) id: RefundId,
    pub(crate) refund_no: String,
    pub(crate) payment_id: PaymentId,
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: RefundStatus,
    /// REQUESTED, LATE, COMPENSATION.
    pub(crate) cause: String,
    pub(crate) reason: String,
    pub(crate) requested_by: String,
    pub(crate) provider_refund_no: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) saga_id: SagaId,
    /// True once the payment and the order have taken it into account.
    pub(crate) booked: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Refund {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            refund_no: row.try_get("refund_no")?,
            payment_id: row::id(row, "payment_id")?,
            order_id: row::id(row, "order_id")?,
            user_id: row::id(row, "user_id")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            status: row::status(row)?,
            cause: row.try_get("cause")?,
            reason: row.try_get("reason")?,
            requested_by: row.try_get("requested_by")?,
            provider_refund_no: row.try_get("provider_refund_no")?,
            error: row.try_get("error")?,
            saga_id: row::id(row, "saga_id")?,
            booked: row.try_get("booked")?,
            created_at: row.try_get("created_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

/// Finds a refund.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query_as("select * from refunds where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds a refund and locks it until the end of the transaction. Its order and payment are to be locked before.
pub(crate) async fn lock(conn: &mut PgConnection, id: RefundId) -> Result<Option<Refund>, sqlx::Error> {
    sqlx::query_as("select * from refunds where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}
