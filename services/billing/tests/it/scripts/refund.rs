//! PAYMENT_REFUND.

use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use crate::fake_sagas::{Running, called, insist};

/// Runs the saga to its end.
pub(crate) async fn run(saga: &Running, input: pb::PaymentRefundInput) {
    let refund_id = input.refund_id.clone();
    let request = pb::SetRefundingStatusRequest {
        refund_id: input.refund_id,
        payment_id: input.payment_id,
        requested_by: input.requested_by,
        amount: input.amount,
        cause: input.cause,
        reason: input.reason,
        saga_id: saga.saga_id.to_string(),
    };
    let call = saga.action("SET_REFUNDING_STATUS");
    let set = insist(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&call, request.clone()));
        async move { steps.set_refunding_status(request).await }
    })
    .await;
    let set = match set {
        Ok(set) => set,
        Err(status) => {
            saga.refused("SET_REFUNDING_STATUS", &status);
            return saga.ended(SagaPhase::Compensated);
        }
    };
    saga.succeeded("SET_REFUNDING_STATUS");

    let call = saga.action("CALL_PROVIDER_REFUND");
    let request = pb::CallProviderRefundRequest {
        refund_id: refund_id.clone(),
    };
    let called_provider = insist(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&call, request.clone()));
        async move { steps.call_provider_refund(request).await }
    })
    .await;
    match called_provider {
        Ok(answer) => book(saga, refund_id, answer.provider_refund_no, &set).await,
        Err(status) => {
            saga.refused("CALL_PROVIDER_REFUND", &status);
            restore(saga, refund_id).await;
        }
    }
}

async fn book(saga: &Running, refund_id: String, number: String, set: &pb::SetRefundingStatusResponse) {
    saga.succeeded("CALL_PROVIDER_REFUND");
    let call = saga.retriable("UPDATE_PAYMENT_STATUS");
    let request = pb::MarkPaymentRefundedRequest {
        refund_id: refund_id.clone(),
        provider_refund_no: number,
    };
    let marked = insist(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&call, request.clone()));
        async move { steps.mark_payment_refunded(request).await }
    });
    marked.await.unwrap();
    let call = saga.retriable("UPDATE_ORDER_STATUS");
    let request = pb::MarkOrderRefundedRequest {
        refund_id: refund_id.clone(),
    };
    let marked = insist(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&call, request.clone()));
        async move { steps.mark_order_refunded(request).await }
    });
    marked.await.unwrap();
    if set.claws_back {
        saga.claw_back(&refund_id, &set.order_id, set.clawback);
    }
    saga.ended(SagaPhase::Completed);
}

async fn restore(saga: &Running, refund_id: String) {
    let call = saga.compensation("SET_REFUNDING_STATUS");
    let request = pb::RestorePaidStatusRequest {
        refund_id,
        cause: "REFUSED".to_owned(),
    };
    let restored = insist(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&call, request.clone()));
        async move { steps.restore_paid_status(request).await }
    });
    restored.await.unwrap();
    saga.ended(SagaPhase::Compensated);
}
