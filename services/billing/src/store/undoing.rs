//! The refunds by which a purchase is undone: read only.

use ids::{PaymentId, RefundId};
use sqlx::PgConnection;

use super::refunds::Refund;

/// Returns the refunds of a payment that were to undo its order and did not, oldest first.
pub(crate) async fn failed(
    conn: &mut PgConnection,
    payment_id: PaymentId,
) -> Result<Vec<Refund>, sqlx::Error> {
    sqlx::query_as(
        "select * from refunds
         where payment_id = $1 and cause = 'COMPENSATION' and status in ('CLOSED', 'FAILED')
         order by created_at, id",
    )
    .bind(payment_id.uuid())
    .fetch_all(conn)
    .await
}

/// Tells whether a person has looked at a refund that failed: `None` if nobody was told.
pub(crate) async fn case_is_resolved(
    conn: &mut PgConnection,
    refund_id: RefundId,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "select bool_and(resolved_at is not null) from cases
         where kind = 'REFUND_FAILED' and subject = 'refund' and subject_id = $1",
    )
    .bind(refund_id.uuid())
    .fetch_one(conn)
    .await
}

/// Returns for how many seconds a saga has been due or running.
pub(crate) async fn due_for_s(
    conn: &mut PgConnection,
    saga: &str,
    business_id: &str,
) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - created_at)::float8 from saga_starts
         where type = $1 and business_id = $2",
    )
    .bind(saga)
    .bind(business_id)
    .fetch_optional(conn)
    .await
}
