//! The payment service. In this branch: its refund methods, for their tests.

use proto::billing::v1 as pb;
use proto::billing::v1::payment_service_server::{PaymentService, PaymentServiceServer};
use tonic::{Request, Response, Status};

use super::{MAX_MESSAGE_BYTES, refund};
use crate::app::App;
use crate::error::Error;

/// PaymentService.
#[derive(Debug)]
pub(super) struct Payments {
    app: App,
}

pub(super) fn service(app: &App) -> PaymentServiceServer<Payments> {
    PaymentServiceServer::new(Payments { app: app.clone() }).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn create_payment(
        &self,
        _: Request<pb::CreatePaymentRequest>,
    ) -> Result<Response<pb::CreatePaymentResponse>, Status> {
        Err(Error::Broken("not built").into())
    }

    async fn get_payment(
        &self,
        _: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        Err(Error::Broken("not built").into())
    }

    async fn list_payments(
        &self,
        _: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        Err(Error::Broken("not built").into())
    }

    async fn cancel_payment(
        &self,
        _: Request<pb::CancelPaymentRequest>,
    ) -> Result<Response<pb::CancelPaymentResponse>, Status> {
        Err(Error::Broken("not built").into())
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
