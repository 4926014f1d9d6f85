//! Which sagas may wait for something that has changed.

use ids::SagaId;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::app::Changed;

/// Returns the sagas. That of a payment waits until it can be shown, or has ended unpaid; that of an order, until it is paid
/// or cancelled.
pub(crate) async fn sagas(db: impl PgExecutor<'_>, changed: Changed) -> Result<Vec<SagaId>, sqlx::Error> {
    let (sql, id) = match changed {
        Changed::Order(id) => ("select saga_id from orders where id = $1", id.uuid()),
        Changed::Payment(id) => (
            "select saga_id from payments where id = $1 and status in ('PENDING', 'CLOSED', 'FAILED')
             union
             select o.saga_id from payments p join orders o on o.id = p.order_id
             where p.id = $1 and p.status <> 'PENDING'",
            id.uuid(),
        ),
        Changed::Refund(id) => ("select saga_id from refunds where id = $1", id),
        Changed::Withdrawal(id) => ("select saga_id from withdrawals where id = $1", id),
    };
    let found: Vec<Uuid> = sqlx::query_scalar(sql).bind(id).fetch_all(db).await?;
    Ok(found.into_iter().map(SagaId::from_uuid).collect())
}
