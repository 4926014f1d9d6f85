//! AwaitPayment: nothing goes on before the money is there.

use std::time::Duration;

use barrier::{Again, Done};
use chrono::TimeDelta;
use ids::OrderId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use crate::domain::OrderStatus;
use crate::error::Error;
use crate::grpc::{encode, id};
use crate::store::order_lines::{self, QUOTA};
use crate::store::order_payments;
use crate::store::orders::{self, Order};

/// Wait between two looks at an order that nobody has paid yet: payment, cancellation and expiry bring a hint, so this is for
/// hints that are lost. 10,000 of them are 333 looks a second.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Looks whether the order is paid.
pub(crate) async fn await_payment(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::AwaitPaymentRequest,
    Again(again): Again,
) -> Result<Done<pb::AwaitPaymentResponse>, Error> {
    let order_id: OrderId = id("order_id", &request.order_id)?;
    // A payment that is settled now is seen at the next look: nothing needs the lock.
    let order = orders::find(&mut *conn, order_id).await?.ok_or(Error::NoOrder)?;
    match order.status {
        OrderStatus::Pending => {
            if !again && !request.device_id.is_empty() {
                orders::set_device(conn, order_id, &request.device_id).await?;
            }
            Ok(Done::Pending { ask_again: ASK_AGAIN })
        }
        OrderStatus::Paid | OrderStatus::Completed => {
            if !again && !request.device_id.is_empty() {
                orders::set_device(conn, order_id, &request.device_id).await?;
            }
            paid(conn, &order).await.map(Done::Reply)
        }
        OrderStatus::Cancelled => Err(Error::OrderCancelled(order.cancel_reason.unwrap_or_default())),
        OrderStatus::Refunded => Err(Error::OrderCancelled("its payment went back".to_owned())),
    }
}

async fn paid(conn: &mut PgConnection, order: &Order) -> Result<pb::AwaitPaymentResponse, Error> {
    let (payment, paid_at) = order_payments::paid(&mut *conn, order.id)
        .await?
        .zip(order.paid_at)
        .ok_or(Error::Broken("a paid order has no payment"))?;
    let lines = order_lines::of_order(conn, order.id).await?;
    let days = lines
        .iter()
        .find(|line| line.kind == QUOTA)
        .map_or(0, |line| line.expires_after_days);
    let quota_expires_at = match days {
        0 => None,
        days => paid_at.checked_add_signed(TimeDelta::days(days.into())),
    };
    Ok(pb::AwaitPaymentResponse {
        payment_id: payment.id.to_string(),
        paid_at: Some(encode::time(paid_at)),
        quota_expires_at: quota_expires_at.map(encode::time),
    })
}
