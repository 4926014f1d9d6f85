//! SET_REFUNDING_STATUS: the refund is made, and its payment is REFUNDING.

use std::str::FromStr;

use barrier::{Again, Done};
use ids::{ParseIdError, PaymentId, RefundId, SagaId};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::{held, standing, tell};
use crate::app::App;
use crate::domain::{self, RefundCause};
use crate::error::Error;
use crate::store::refunds::{self, NewRefund};
use crate::store::{orders, payments, refunding};

/// Longest name of who asked, and longest reason, in characters.
const MAX_CHARS: usize = 128;

/// What is asked for.
struct Asked {
    refund_id: RefundId,
    payment_id: PaymentId,
    saga_id: SagaId,
    cause: RefundCause,
    amount: i64,
}

pub(crate) async fn set_refunding_status(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::SetRefundingStatusRequest,
    _: Again,
) -> Result<Done<pb::SetRefundingStatusResponse>, Error> {
    let asked = read(request)?;
    let order = orders::lock_of_payment(conn, asked.payment_id)
        .await?
        .ok_or(Error::NoPayment)?;
    let payment = payments::lock(conn, asked.payment_id)
        .await?
        .ok_or(Error::NoPayment)?;
    let standing = standing(&payment, order.status);
    let amount = standing.refundable(asked.cause, asked.amount)?;
    let quota = refunding::quota_of_order(&mut *conn, order.id).await?;
    let clawback = standing.clawback(asked.cause, amount, quota);

    let refund_no = domain::number(domain::REFUND, asked.refund_id.uuid());
    let new = NewRefund {
        id: asked.refund_id,
        refund_no: &refund_no,
        payment: &payment,
        amount,
        cause: asked.cause,
        reason: &request.reason,
        requested_by: &request.requested_by,
        saga_id: asked.saga_id,
    };
    let refund = refunds::insert(conn, &new)
        .await?
        .ok_or(Error::Mismatch("refund"))?;
    held(refunding::begin(conn, payment.id, amount).await?)?;
    tell(conn, "refund.requested", &refund).await?;
    Ok(Done::Reply(pb::SetRefundingStatusResponse {
        refund_no,
        order_id: order.id.to_string(),
        user_id: payment.user_id.to_string(),
        claws_back: clawback.is_some(),
        clawback: clawback.unwrap_or(0),
    }))
}

fn read(request: &pb::SetRefundingStatusRequest) -> Result<Asked, Error> {
    let invalid = |field, problem| Error::Invalid { field, problem };
    let cause = pb::RefundCause::try_from(request.cause)
        .ok()
        .and_then(RefundCause::from_message)
        .ok_or(invalid("cause", "is missing or not known"))?;
    if request.reason.is_empty() || request.reason.chars().count() > MAX_CHARS {
        return Err(invalid("reason", "must be 1 to 128 characters"));
    }
    if request.requested_by.is_empty() || request.requested_by.chars().count() > MAX_CHARS {
        return Err(invalid("requested_by", "must be 1 to 128 characters"));
    }
    if request.amount < 0 {
        return Err(invalid("amount", "must not be negative"));
    }
    Ok(Asked {
        refund_id: id("refund_id", &request.refund_id)?,
        payment_id: id("payment_id", &request.payment_id)?,
        saga_id: id("saga_id", &request.saga_id)?,
        cause,
        amount: request.amount,
    })
}

fn id<T: FromStr<Err = ParseIdError>>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|source| Error::Id { field, source })
}
