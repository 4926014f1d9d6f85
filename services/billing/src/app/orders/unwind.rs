//! CancelOrderRecord and RefundOrder: a purchase is undone. An order that may still be paid takes no payment any more; what
//! was paid goes back by a saga of its own.
//!
//! Both do the same: a buyer may pay before the saga waits for it, so that either may find the money there.

use chrono::Utc;
use std::time::Duration;

use barrier::{Again, Done};
use ids::{OrderId, RefundId};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::App;
use super::cancel::{begin, finish_cancel};
use crate::domain::{Cancelling, OrderStatus, patience};
use crate::error::Error;
use crate::grpc::id;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::Subject;
use crate::store::orders::{self, Order};
use crate::store::payments::Payment;
use crate::store::refunds::Refund;
use crate::store::{order_payments, payments, refunds, saga_starts, undoing};

/// Name of the saga by which money goes back.
const REFUND_SAGA: &str = "PAYMENT_REFUND";
const REFUND_INPUT: &str = "evenkeel.billing.v1.PaymentRefundInput";
/// Namespace of the ids of refunds that undo orders, made of `<order id>/<refunds that failed before>`. Never changes.
const REFUND_NAMESPACE: Uuid = Uuid::from_u128(0x5d0e_8f16_2a77_4c1b_8e43_90b1_c2d4_6f05);
/// Who asks for such a refund.
const REQUESTED_BY: &str = "billing";
/// Waits between two looks: the first, and the longest.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Undoes CreateOrder.
pub(crate) async fn cancel_order_record(
    app: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::CancelOrderRecordRequest,
    _: Again,
) -> Result<Done<pb::CancelOrderRecordResponse>, Error> {
    let found = unwind(app, conn, &request.order_id, &request.cause).await?;
    Ok(
        found.map_or(Done::Reply(pb::CancelOrderRecordResponse {}), |ask_again| {
            Done::Pending { ask_again }
        }),
    )
}

/// Undoes AwaitPayment.
pub(crate) async fn refund_order(
    app: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::RefundOrderRequest,
    _: Again,
) -> Result<Done<pb::RefundOrderResponse>, Error> {
    let found = unwind(app, conn, &request.order_id, &request.cause).await?;
    Ok(
        found.map_or(Done::Reply(pb::RefundOrderResponse {}), |ask_again| {
            Done::Pending { ask_again }
        }),
    )
}

/// Begins to undo an order, or looks how far that is: `None` once it is over, else when to look again.
async fn unwind(
    app: &App,
    conn: &mut PgConnection,
    order_id: &str,
    cause: &str,
) -> Result<Option<Duration>, Error> {
    let order_id: OrderId = id("order_id", order_id)?;
    let cause = if cause.is_empty() {
        Cancelling::Saga.name()
    } else {
        cause
    };
    // Its maker was answered, or its transaction has ended: the barrier has seen to that.
    let order = orders::lock(conn, order_id).await?.ok_or(Error::NoOrder)?;
    let later = patience(order.updated_at, Utc::now(), (SHORTEST, LONGEST));
    match order.status {
        OrderStatus::Cancelled | OrderStatus::Refunded => Ok(None),
        OrderStatus::Pending => {
            let is_over = if order.cancelling.as_deref() == Some(Cancelling::Saga.name()) {
                finish_cancel(conn, &order).await?
            } else {
                begin(app, conn, &order, Cancelling::Saga, cause).await?
            };
            Ok((!is_over).then_some(later))
        }
        OrderStatus::Paid => {
            give_back(app, conn, &order, cause).await?;
            Ok(Some(later))
        }
        OrderStatus::Completed => Err(Error::Broken("a completed order is being undone")),
    }
}

/// Makes the refund due that undoes an order. If the one before has failed a person is told first, and the next one is made
/// when that person is done.
///
/// A compensation that answers an error keeps nothing of what it wrote: so the case is opened by a call that answers "later",
/// and the next one answers the error.
async fn give_back(app: &App, conn: &mut PgConnection, order: &Order, cause: &str) -> Result<(), Error> {
    let payment = order_payments::paid(&mut *conn, order.id)
        .await?
        .ok_or(Error::Broken("a paid order has no payment"))?;
    let payment = payments::lock(conn, payment.id)
        .await?
        .ok_or(Error::Broken("a payment is gone"))?;
    let failed = undoing::failed(conn, payment.id).await?;
    if let Some(last) = failed.last() {
        match undoing::case_is_resolved(conn, last.id).await? {
            None => return tell_of(conn, &payment, last).await,
            Some(false) => {
                return Err(Error::RefundClosed(last.error.clone().unwrap_or_default()));
            }
            Some(true) => {}
        }
    }
    let refund_id = RefundId::derived(REFUND_NAMESPACE, &format!("{}/{}", order.id, failed.len()));
    let input = pb::PaymentRefundInput {
        refund_id: refund_id.to_string(),
        payment_id: payment.id.to_string(),
        requested_by: REQUESTED_BY.to_owned(),
        amount: payment.amount,
        cause: pb::RefundCause::Compensation.into(),
        reason: cause.to_owned(),
    };
    let business_id = refund_id.to_string();
    if saga_starts::insert(conn, REFUND_SAGA, &business_id, REFUND_INPUT, &input).await?
        || refunds::find(&mut *conn, refund_id).await?.is_some()
    {
        return Ok(());
    }
    // The saga cannot be started, or did not get as far as its row.
    let due_for_s = undoing::due_for_s(conn, REFUND_SAGA, &business_id).await?;
    if due_for_s.is_some_and(|s| s > app.config.case_after.as_secs_f64()) {
        let case = NewCase {
            kind: CaseKind::RefundFailed,
            channel: payment.channel,
            subject: Subject::Payment,
            subject_id: payment.id.uuid(),
            number: &payment.payment_no,
            detail: "the saga that gives the money back has not begun",
        };
        cases::open(conn, &case).await?;
    }
    Ok(())
}

async fn tell_of(conn: &mut PgConnection, payment: &Payment, refund: &Refund) -> Result<(), Error> {
    let case = NewCase {
        kind: CaseKind::RefundFailed,
        channel: payment.channel,
        subject: Subject::Refund,
        subject_id: refund.id.uuid(),
        number: &refund.refund_no,
        detail: refund.error.as_deref().unwrap_or_default(),
    };
    cases::open(conn, &case).await?;
    tracing::warn!(
        refund_id = %refund.id,
        payment_id = %payment.id,
        "the refund that undoes an order has failed; a case is open"
    );
    Ok(())
}
