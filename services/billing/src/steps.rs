//! The operations that sagas call, each behind the barrier.
//!
//! Fields are read behind the barrier, so that the "no" to a malformed request is as final as any other.

use barrier::{Again, Done};
use prost::Message;
use proto::billing::v1 as pb;
use proto::billing::v1::billing_steps_server::{BillingSteps, BillingStepsServer};
use rpc::step::{PENDING_HEADER, StepCall};
use sqlx::PgConnection;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::DOMAIN;
use crate::app::{App, orders, payments, refunds, withdrawals};
use crate::error::Error;

/// BillingSteps, as in `proto/evenkeel/billing/v1/billing_steps.proto`.
#[derive(Debug)]
struct Steps {
    app: App,
}

pub(crate) fn routes(app: &App) -> Routes {
    Routes::new(BillingStepsServer::new(Steps { app: app.clone() }))
}

impl Steps {
    /// Runs the work of a step behind the barrier, once there is room for it.
    async fn run<Q, R, F>(&self, request: Request<Q>, work: F) -> Result<Response<R>, Status>
    where
        Q: Message,
        R: Message + Default,
        F: for<'a> AsyncFnOnce(
            &'a App,
            &'a mut PgConnection,
            &'a StepCall,
            &'a Q,
            Again,
        ) -> Result<Done<R>, Error>,
    {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        // Held to the end. It is never closed.
        let _room = self.app.room_for_steps.acquire().await;
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| work(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    /// Has the checks looked at if a step has begun, or looks at, something that they are to find out. After the commit: who
    /// looks earlier finds nothing.
    fn look_at_checks<R>(&self, reply: &Response<R>) {
        if reply.metadata().contains_key(PENDING_HEADER) {
            self.app.due.notify_one();
        }
    }
}

#[tonic::async_trait]
impl BillingSteps for Steps {
    async fn validate_plan(
        &self,
        request: Request<pb::ValidatePlanRequest>,
    ) -> Result<Response<pb::ValidatePlanResponse>, Status> {
        self.run(request, orders::validate_plan).await
    }

    async fn create_order(
        &self,
        request: Request<pb::CreateOrderRequest>,
    ) -> Result<Response<pb::CreateOrderResponse>, Status> {
        self.run(request, orders::create_order).await
    }

    async fn cancel_order_record(
        &self,
        request: Request<pb::CancelOrderRecordRequest>,
    ) -> Result<Response<pb::CancelOrderRecordResponse>, Status> {
        self.run(request, orders::cancel_order_record).await
    }

    async fn await_payment(
        &self,
        request: Request<pb::AwaitPaymentRequest>,
    ) -> Result<Response<pb::AwaitPaymentResponse>, Status> {
        self.run(request, orders::await_payment).await
    }

    async fn refund_order(
        &self,
        request: Request<pb::RefundOrderRequest>,
    ) -> Result<Response<pb::RefundOrderResponse>, Status> {
        self.run(request, orders::refund_order).await
    }

    async fn activate_order(
        &self,
        request: Request<pb::ActivateOrderRequest>,
    ) -> Result<Response<pb::ActivateOrderResponse>, Status> {
        self.run(request, orders::activate_order).await
    }

    async fn create_payment_record(
        &self,
        request: Request<pb::CreatePaymentRecordRequest>,
    ) -> Result<Response<pb::CreatePaymentRecordResponse>, Status> {
        self.run(request, payments::create_payment_record).await
    }

    async fn discard_payment_record(
        &self,
        request: Request<pb::DiscardPaymentRecordRequest>,
    ) -> Result<Response<pb::DiscardPaymentRecordResponse>, Status> {
        self.run(request, payments::discard_payment_record).await
    }

    async fn call_payment_channel(
        &self,
        request: Request<pb::CallPaymentChannelRequest>,
    ) -> Result<Response<pb::CallPaymentChannelResponse>, Status> {
        self.run(request, payments::call_payment_channel)
            .await
            .inspect(|reply| self.look_at_checks(reply))
    }

    async fn close_payment(
        &self,
        request: Request<pb::ClosePaymentRequest>,
    ) -> Result<Response<pb::ClosePaymentResponse>, Status> {
        self.run(request, payments::close_payment)
            .await
            .inspect(|reply| self.look_at_checks(reply))
    }

    async fn set_refunding_status(
        &self,
        request: Request<pb::SetRefundingStatusRequest>,
    ) -> Result<Response<pb::SetRefundingStatusResponse>, Status> {
        self.run(request, refunds::set_refunding_status).await
    }

    async fn restore_paid_status(
        &self,
        request: Request<pb::RestorePaidStatusRequest>,
    ) -> Result<Response<pb::RestorePaidStatusResponse>, Status> {
        self.run(request, refunds::restore_paid_status).await
    }

    async fn call_provider_refund(
        &self,
        request: Request<pb::CallProviderRefundRequest>,
    ) -> Result<Response<pb::CallProviderRefundResponse>, Status> {
        self.run(request, refunds::call_provider_refund)
            .await
            .inspect(|reply| self.look_at_checks(reply))
    }

    async fn mark_payment_refunded(
        &self,
        request: Request<pb::MarkPaymentRefundedRequest>,
    ) -> Result<Response<pb::MarkPaymentRefundedResponse>, Status> {
        self.run(request, refunds::mark_payment_refunded).await
    }

    async fn mark_order_refunded(
        &self,
        request: Request<pb::MarkOrderRefundedRequest>,
    ) -> Result<Response<pb::MarkOrderRefundedResponse>, Status> {
        self.run(request, refunds::mark_order_refunded).await
    }

    async fn freeze_commission(
        &self,
        request: Request<pb::FreezeCommissionRequest>,
    ) -> Result<Response<pb::FreezeCommissionResponse>, Status> {
        self.run(request, withdrawals::freeze_commission).await
    }

    async fn call_provider_transfer(
        &self,
        request: Request<pb::CallProviderTransferRequest>,
    ) -> Result<Response<pb::CallProviderTransferResponse>, Status> {
        self.run(request, withdrawals::call_provider_transfer)
            .await
            .inspect(|reply| self.look_at_checks(reply))
    }

    async fn deduct_commission(
        &self,
        request: Request<pb::DeductCommissionRequest>,
    ) -> Result<Response<pb::DeductCommissionResponse>, Status> {
        self.run(request, withdrawals::deduct_commission).await
    }

    async fn unfreeze_commission(
        &self,
        request: Request<pb::UnfreezeCommissionRequest>,
    ) -> Result<Response<pb::UnfreezeCommissionResponse>, Status> {
        self.run(request, withdrawals::unfreeze_commission).await
    }
}
