//! The facts that other services learn from the outbox. Amounts are minor units; every fact has a `timestamp` (RFC 3339).
//!
//! | topic | key | data |
//! |---|---|---|
//! | `order.completed` | order | `orderId`, `userId`, `deviceId` (may be null), `amount` |
//! | `order.cancelled` | order | `orderId`, `userId`, `reason` |
//! | `payment.succeeded` | order | `paymentId`, `orderId`, `userId`, `channel`, `amount`, `late` |
//! | `payment.closed` | order | `paymentId`, `orderId`, `userId`, `channel`, `reason` |
//! | `payment.unknown` | order | `paymentId`, `orderId`, `userId`, `channel`: past `case_after` |
//! | `refund.requested`, `refund.succeeded`, `refund.abnormal` | order | `refundId`, `paymentId`, `orderId`, `userId`, `amount`, `cause` |
//! | `withdrawal.succeeded`, `withdrawal.failed` | withdrawal | `withdrawalId`, `userId`, `amount` |
//! | `notification.send` | user | `userId`, `type`, `title`, `message`, `priority` |

use chrono::{SecondsFormat, Utc};
use events::Event;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::SCHEMA;
use crate::error::Error;

/// Topics that the service publishes whether or not anybody wants them.
pub const FACTS: &[&str] = &[
    "order.completed",
    "order.cancelled",
    "payment.succeeded",
    "payment.closed",
    "payment.unknown",
    "refund.requested",
    "refund.succeeded",
    "refund.abnormal",
    "withdrawal.succeeded",
    "withdrawal.failed",
];

/// Writes a fact, in the transaction that makes it true.
pub(crate) async fn tell(
    conn: &mut PgConnection,
    topic: &'static str,
    key: String,
    mut data: Value,
) -> Result<(), Error> {
    data["timestamp"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
    ::events::outbox::insert(conn, SCHEMA, &Event::new(topic, key, data)).await?;
    Ok(())
}
