//! PaymentService.

use ids::PaymentId;
use proto::billing::v1 as pb;
use proto::billing::v1::payment_service_server::PaymentService;
use tonic::{Request, Response, Status};

use super::{amount, channel, encode, id, refund, request_id};
use crate::DOMAIN;
use crate::app::App;
use crate::app::payments::{self, Create};
use crate::domain::Page;
use crate::error::Error;

/// Longest number or id of an order, in bytes.
const MAX_ORDER_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Payments {
    pub(super) app: App,
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn create_payment(
        &self,
        request: Request<pb::CreatePaymentRequest>,
    ) -> Result<Response<pb::CreatePaymentResponse>, Status> {
        let of = token::caller(&request).confined_to()?;
        let request_id = request_id(&request, &request.get_ref().request_id)?;
        let wanted = create(request.into_inner(), request_id)?;
        let (saga_id, payment) = payments::create_payment(&self.app, of, &wanted).await?;
        let payment = encode::payment(payment);
        Ok(Response::new(pb::CreatePaymentResponse {
            payment_id: payment.payment_id.clone(),
            payment_url: payment.payment_url.clone(),
            channel_order_no: payment.channel_order_no.clone(),
            saga_id: saga_id.to_string(),
            payment: Some(payment),
        }))
    }

    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        let of = token::caller(&request).confined_to()?;
        let payment_id: PaymentId = id("payment_id", &request.get_ref().payment_id)?;
        let payment = payments::get_payment(&self.app, of, payment_id).await?;
        Ok(Response::new(pb::GetPaymentResponse {
            payment: Some(encode::payment(payment)),
        }))
    }

    async fn list_payments(
        &self,
        request: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request = request.into_inner();
        let order_id = match request.order_id.as_str() {
            "" => None,
            named => Some(id("order_id", named)?),
        };
        let list = format!("payments of {user_id} for {:?}", request.order_id);
        let page = Page::new(list, request.page_size, &request.page_token)?;
        let (found, next_page_token) = payments::list_payments(&self.app, user_id, order_id, &page).await?;
        Ok(Response::new(pb::ListPaymentsResponse {
            payments: found.into_iter().map(encode::payment).collect(),
            next_page_token,
        }))
    }

    async fn cancel_payment(
        &self,
        request: Request<pb::CancelPaymentRequest>,
    ) -> Result<Response<pb::CancelPaymentResponse>, Status> {
        let of = token::caller(&request).confined_to()?;
        let payment_id: PaymentId = id("payment_id", &request.get_ref().payment_id)?;
        let payment = payments::cancel_payment(&self.app, of, payment_id).await?;
        Ok(Response::new(pb::CancelPaymentResponse {
            payment: Some(encode::payment(payment)),
        }))
    }

    async fn create_refund(
        &self,
        request: Request<pb::CreateRefundRequest>,
    ) -> Result<Response<pb::CreateRefundResponse>, Status> {
        refund::create_refund(&self.app, request).await
    }

    async fn get_refund(
        &self,
        request: Request<pb::GetRefundRequest>,
    ) -> Result<Response<pb::GetRefundResponse>, Status> {
        refund::get_refund(&self.app, request).await
    }

    async fn list_refunds(
        &self,
        request: Request<pb::ListRefundsRequest>,
    ) -> Result<Response<pb::ListRefundsResponse>, Status> {
        refund::list_refunds(&self.app, request).await
    }
}

fn create(request: pb::CreatePaymentRequest, request_id: String) -> Result<Create, Error> {
    let channel = channel(request.channel())?;
    let amount = amount(request.amount)?;
    if request.order_no.is_empty()
        || request.order_no.len() > MAX_ORDER_BYTES
        || request.order_no.contains('\0')
    {
        return Err(Error::Invalid {
            field: "order_no",
            problem: "must be the number or the id of an order",
        });
    }
    Ok(Create {
        order: request.order_no,
        amount,
        channel,
        request_id,
    })
}
