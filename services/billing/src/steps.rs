//! The operations that sagas call, each behind the barrier.
//!
//! Fields are read behind the barrier, so that the "no" to a malformed request is as final as any other.

use proto::billing::v1 as pb;
use proto::billing::v1::billing_steps_server::{BillingSteps, BillingStepsServer};
use rpc::step::StepCall;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::DOMAIN;
use crate::app::{App, orders, payments, refunds, withdrawals};

/// BillingSteps, as in `proto/evenkeel/billing/v1/billing_steps.proto`.
#[derive(Debug)]
struct Steps {
    app: App,
}

pub(crate) fn routes(app: &App) -> Routes {
    Routes::new(BillingStepsServer::new(Steps { app: app.clone() }))
}

#[tonic::async_trait]
impl BillingSteps for Steps {
    async fn validate_plan(
        &self,
        request: Request<pb::ValidatePlanRequest>,
    ) -> Result<Response<pb::ValidatePlanResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::validate_plan(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn create_order(
        &self,
        request: Request<pb::CreateOrderRequest>,
    ) -> Result<Response<pb::CreateOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::create_order(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn cancel_order_record(
        &self,
        request: Request<pb::CancelOrderRecordRequest>,
    ) -> Result<Response<pb::CancelOrderRecordResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::cancel_order_record(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn await_payment(
        &self,
        request: Request<pb::AwaitPaymentRequest>,
    ) -> Result<Response<pb::AwaitPaymentResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::await_payment(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn refund_order(
        &self,
        request: Request<pb::RefundOrderRequest>,
    ) -> Result<Response<pb::RefundOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::refund_order(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn activate_order(
        &self,
        request: Request<pb::ActivateOrderRequest>,
    ) -> Result<Response<pb::ActivateOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| orders::activate_order(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn create_payment_record(
        &self,
        request: Request<pb::CreatePaymentRecordRequest>,
    ) -> Result<Response<pb::CreatePaymentRecordResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| payments::create_payment_record(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn discard_payment_record(
        &self,
        request: Request<pb::DiscardPaymentRecordRequest>,
    ) -> Result<Response<pb::DiscardPaymentRecordResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| {
                payments::discard_payment_record(&self.app, conn, &call, request, again).await
            },
        )
        .await
    }

    async fn call_payment_channel(
        &self,
        request: Request<pb::CallPaymentChannelRequest>,
    ) -> Result<Response<pb::CallPaymentChannelResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| payments::call_payment_channel(&self.app, conn, &call, request, again).await,
        )
        .await;
        // After the commit: a worker that looks earlier finds nothing.
        self.app.due.notify_one();
        answer
    }

    async fn close_payment(
        &self,
        request: Request<pb::ClosePaymentRequest>,
    ) -> Result<Response<pb::ClosePaymentResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| payments::close_payment(&self.app, conn, &call, request, again).await,
        )
        .await;
        // After the commit: a worker that looks earlier finds nothing.
        self.app.due.notify_one();
        answer
    }

    async fn set_refunding_status(
        &self,
        request: Request<pb::SetRefundingStatusRequest>,
    ) -> Result<Response<pb::SetRefundingStatusResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| refunds::set_refunding_status(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn restore_paid_status(
        &self,
        request: Request<pb::RestorePaidStatusRequest>,
    ) -> Result<Response<pb::RestorePaidStatusResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| refunds::restore_paid_status(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn call_provider_refund(
        &self,
        request: Request<pb::CallProviderRefundRequest>,
    ) -> Result<Response<pb::CallProviderRefundResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        let mut first = false;
        let answer = barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| {
                first = !again.0;
                refunds::call_provider_refund(&self.app, conn, &call, request, again).await
            },
        )
        .await;
        // After the commit: a hint before it would find nothing.
        if first {
            self.app.due.notify_one();
        }
        answer
    }

    async fn mark_payment_refunded(
        &self,
        request: Request<pb::MarkPaymentRefundedRequest>,
    ) -> Result<Response<pb::MarkPaymentRefundedResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| refunds::mark_payment_refunded(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn mark_order_refunded(
        &self,
        request: Request<pb::MarkOrderRefundedRequest>,
    ) -> Result<Response<pb::MarkOrderRefundedResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| refunds::mark_order_refunded(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn freeze_commission(
        &self,
        request: Request<pb::FreezeCommissionRequest>,
    ) -> Result<Response<pb::FreezeCommissionResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| withdrawals::freeze_commission(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn call_provider_transfer(
        &self,
        request: Request<pb::CallProviderTransferRequest>,
    ) -> Result<Response<pb::CallProviderTransferResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| {
                withdrawals::call_provider_transfer(&self.app, conn, &call, request, again).await
            },
        )
        .await
        .inspect(|_| self.app.due.notify_one())
    }

    async fn deduct_commission(
        &self,
        request: Request<pb::DeductCommissionRequest>,
    ) -> Result<Response<pb::DeductCommissionResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| withdrawals::deduct_commission(&self.app, conn, &call, request, again).await,
        )
        .await
    }

    async fn unfreeze_commission(
        &self,
        request: Request<pb::UnfreezeCommissionRequest>,
    ) -> Result<Response<pb::UnfreezeCommissionResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(
            &self.app.steps_pool,
            &call,
            request,
            DOMAIN,
            async |conn, again| {
                withdrawals::unfreeze_commission(&self.app, conn, &call, request, again).await
            },
        )
        .await
    }
}
