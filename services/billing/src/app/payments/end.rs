//! How payments end without money.

use serde_json::json;
use sqlx::PgConnection;

use crate::app::orders;
use crate::domain::{Channel, PaymentStatus};
use crate::error::Error;
use crate::events::tell;
use crate::store;
use crate::store::checks::{self, Subject};
use crate::store::orders::Order;
use crate::store::payments::Payment;

/// Ends an open payment unpaid: CLOSED or FAILED. Its order is CANCELLED if it waited for that. False if the payment is
/// not open. Both are locked.
pub(crate) async fn end_unpaid(
    conn: &mut PgConnection,
    order: &Order,
    payment: &Payment,
    to: PaymentStatus,
    reason: &str,
) -> Result<bool, Error> {
    if !store::payments::end_unpaid(conn, payment.id, to, reason).await? {
        return Ok(false);
    }
    if to == PaymentStatus::Closed {
        let data = json!({
            "paymentId": payment.id.to_string(),
            "orderId": order.id.to_string(),
            "userId": payment.user_id.to_string(),
            "channel": payment.channel.name(),
            "reason": reason,
        });
        tell(conn, "payment.closed", order.id.to_string(), data).await?;
    }
    orders::closed(conn, order).await?;
    Ok(true)
}

/// Has all open payments of an order closed at their channels. Returns how many there are. The order is locked.
pub(crate) async fn close_others(conn: &mut PgConnection, order: &Order, why: &str) -> Result<usize, Error> {
    let open: Vec<(_, Channel)> = store::payments::close_all(conn, order.id, why).await?;
    for (id, channel) in &open {
        checks::due(conn, Subject::Payment, id.uuid(), *channel).await?;
    }
    Ok(open.len())
}
