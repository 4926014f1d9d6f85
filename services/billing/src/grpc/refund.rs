//! The part of PaymentService that is about refunds.

use ids::{PaymentId, RefundId};
use proto::billing::v1 as pb;
use tonic::{Request, Response, Status};

use super::{encode, id, request_id};
use crate::app::App;
use crate::app::refunds::{self, Caller, Wish};
use crate::domain::RefundStatus;
use crate::store::refunds::Refund;

pub(super) async fn create_refund(
    app: &App,
    request: Request<pb::CreateRefundRequest>,
) -> Result<Response<pb::CreateRefundResponse>, Status> {
    let caller = token::caller(&request);
    let caller = match caller.confined_to()? {
        Some(user_id) => Caller::User(user_id),
        None => Caller::Privileged(caller.actor(request.metadata())),
    };
    let request_id = request_id(&request, &request.get_ref().request_id)?;
    let request = request.get_ref();
    let payment_id: PaymentId = id("payment_id", &request.payment_id)?;
    let wish = Wish::parse(payment_id, request.amount, &request.reason, request_id, caller)?;
    let begun = refunds::create_refund(app, &wish).await?;
    Ok(Response::new(pb::CreateRefundResponse {
        saga_id: begun.saga_id.to_string(),
        payment: Some(encode::payment(begun.payment)),
        refund: Some(refund(begun.refund)),
    }))
}

pub(super) async fn get_refund(
    app: &App,
    request: Request<pb::GetRefundRequest>,
) -> Result<Response<pb::GetRefundResponse>, Status> {
    let visible_to = token::caller(&request).confined_to()?;
    let refund_id: RefundId = id("refund_id", &request.get_ref().refund_id)?;
    let found = refunds::get_refund(app, refund_id, visible_to).await?;
    Ok(Response::new(pb::GetRefundResponse {
        refund: Some(refund(found)),
    }))
}

pub(super) async fn list_refunds(
    app: &App,
    request: Request<pb::ListRefundsRequest>,
) -> Result<Response<pb::ListRefundsResponse>, Status> {
    let visible_to = token::caller(&request).confined_to()?;
    let payment_id: PaymentId = id("payment_id", &request.get_ref().payment_id)?;
    let found = refunds::list_refunds(app, payment_id, visible_to).await?;
    Ok(Response::new(pb::ListRefundsResponse {
        refunds: found.into_iter().map(refund).collect(),
    }))
}

fn refund(refund: Refund) -> pb::Refund {
    // What the provider answers meanwhile is not for payers.
    let error = match refund.status {
        RefundStatus::Closed | RefundStatus::Abnormal | RefundStatus::Failed => refund.error,
        RefundStatus::Pending | RefundStatus::Processing | RefundStatus::Succeeded => None,
    };
    pb::Refund {
        refund_id: refund.id.to_string(),
        refund_no: refund.refund_no,
        payment_id: refund.payment_id.to_string(),
        order_id: refund.order_id.to_string(),
        user_id: refund.user_id.to_string(),
        amount: refund.amount,
        currency: refund.currency,
        status: pb::RefundStatus::from(refund.status).into(),
        cause: pb::RefundCause::from(refund.cause).into(),
        reason: refund.reason,
        provider_refund_no: refund.provider_refund_no.unwrap_or_default(),
        error: error.unwrap_or_default(),
        saga_id: refund.saga_id.to_string(),
        created_at: Some(encode::time(refund.created_at)),
        ended_at: refund.ended_at.map(encode::time),
    }
}
