//! UPDATE_PAYMENT_STATUS and UPDATE_ORDER_STATUS: the money went back, and the books say so.

use barrier::{Again, Done};
use chrono::Utc;
use ids::RefundId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::{held, lock, tell};
use crate::app::{App, memberships};
use crate::domain::{OrderStatus, RefundStatus};
use crate::error::Error;
use crate::store::{refunding, refunds};

pub(crate) async fn mark_payment_refunded(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::MarkPaymentRefundedRequest,
    _: Again,
) -> Result<Done<pb::MarkPaymentRefundedResponse>, Error> {
    let locked = lock(conn, id(&request.refund_id)?).await?;
    let refund = &locked.refund;
    let number = Some(request.provider_refund_no.as_str()).filter(|number| !number.is_empty());
    if !refund.booked {
        if refund.status != RefundStatus::Succeeded {
            return Err(Error::Broken("a refund that did not succeed is to be booked"));
        }
        held(refunding::book(conn, locked.payment.id, refund.amount).await?)?;
        held(refunds::book(conn, refund.id, number).await?)?;
    }
    Ok(Done::Reply(pb::MarkPaymentRefundedResponse {}))
}

pub(crate) async fn mark_order_refunded(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::MarkOrderRefundedRequest,
    _: Again,
) -> Result<Done<pb::MarkOrderRefundedResponse>, Error> {
    let locked = lock(conn, id(&request.refund_id)?).await?;
    let (order, payment, refund) = (&locked.order, &locked.payment, &locked.refund);
    if !refund.booked {
        return Err(Error::Broken("a refund reaches the order before the payment"));
    }
    match order.status {
        // What was paid late was never a payment of the order.
        _ if payment.late => {}
        OrderStatus::Paid | OrderStatus::Completed => {
            held(refunding::copy_to_order(conn, order.id, payment.refunded_amount).await?)?;
            if payment.refunded_amount == order.final_amount {
                memberships::revoke(conn, order.user_id, order.id, refund.id, Utc::now()).await?;
            }
        }
        // Another refund of the payment was faster, and has copied the sum of both.
        OrderStatus::Refunded => {}
        OrderStatus::Pending | OrderStatus::Cancelled => {
            return Err(Error::Broken("an order that was not paid is to be refunded"));
        }
    }
    tell(conn, "refund.succeeded", refund).await?;
    tracing::info!(refund_id = %refund.id, saga_id = %refund.saga_id, amount = refund.amount, "a refund succeeded");
    Ok(Done::Reply(pb::MarkOrderRefundedResponse {}))
}

fn id(text: &str) -> Result<RefundId, Error> {
    text.parse().map_err(|source| Error::Id {
        field: "refund_id",
        source,
    })
}
