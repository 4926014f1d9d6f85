//! PAYMENT_PURCHASE.

use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;
use tonic::Status;

use crate::fake_sagas::{Running, called, settled};

/// Runs the saga to its end.
pub(crate) async fn run(saga: &Running, input: pb::PaymentPurchaseInput) {
    let undo = match forward(saga, &input).await {
        Ok(Undo::Nothing) => {
            saga.ended(SagaPhase::Completed);
            return;
        }
        Ok(undo) => undo,
        Err((step, status, undo)) => {
            saga.refused(step, &status);
            undo
        }
    };
    let cause = || "REFUSED".to_owned();
    if undo >= Undo::Payment {
        let request = pb::RefundOrderRequest {
            order_id: input.order_id.clone(),
            cause: cause(),
        };
        let call = saga.compensation("PROCESS_PAYMENT");
        settled(async || {
            saga.steps
                .clone()
                .refund_order(called(&call, request.clone()))
                .await
        })
        .await
        .unwrap();
    }
    if undo >= Undo::Order {
        let request = pb::CancelOrderRecordRequest {
            order_id: input.order_id,
            cause: cause(),
        };
        let call = saga.compensation("CREATE_ORDER");
        settled(async || {
            saga.steps
                .clone()
                .cancel_order_record(called(&call, request.clone()))
                .await
        })
        .await
        .unwrap();
    }
    saga.ended(SagaPhase::Compensated);
}

/// How much is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Undo {
    /// All went well.
    Nothing,
    /// It was refused before there was anything.
    Before,
    Order,
    Payment,
}

async fn forward(
    saga: &Running,
    input: &pb::PaymentPurchaseInput,
) -> Result<Undo, (&'static str, Status, Undo)> {
    let steps = &saga.steps;
    let validate = pb::ValidatePlanRequest {
        plan_id: input.plan_id.clone(),
        amount: input.amount,
    };
    let call = saga.action("VALIDATE_PLAN");
    let plan = settled(async || steps.clone().validate_plan(called(&call, validate.clone())).await)
        .await
        .map_err(|status| ("VALIDATE_PLAN", status, Undo::Before))?;
    saga.succeeded("VALIDATE_PLAN");

    let create = pb::CreateOrderRequest {
        order_id: input.order_id.clone(),
        user_id: input.user_id.clone(),
        plan_id: input.plan_id.clone(),
        plan_version: plan.version,
        amount: input.amount,
        pay_within: input.pay_within,
        saga_id: saga.saga_id.to_string(),
    };
    let call = saga.action("CREATE_ORDER");
    let created = settled(async || steps.clone().create_order(called(&call, create.clone())).await)
        .await
        .map_err(|status| ("CREATE_ORDER", status, Undo::Before))?;
    saga.succeeded("CREATE_ORDER");

    if plan.needs_device && !saga.other("ALLOCATE_DEVICE") {
        return Ok(Undo::Order);
    }
    let pay = pb::AwaitPaymentRequest {
        order_id: input.order_id.clone(),
        device_id: if plan.needs_device {
            "device-1".to_owned()
        } else {
            String::new()
        },
    };
    let call = saga.action("PROCESS_PAYMENT");
    settled(async || steps.clone().await_payment(called(&call, pay.clone())).await)
        .await
        .map_err(|status| ("PROCESS_PAYMENT", status, Undo::Order))?;
    saga.succeeded("PROCESS_PAYMENT");

    if created.grants_quota {
        if !saga.other("GRANT_QUOTA") {
            return Ok(Undo::Payment);
        }
        saga.grant(&input.order_id, created.quota);
    }
    let activate = pb::ActivateOrderRequest {
        order_id: input.order_id.clone(),
    };
    let call = saga.retriable("ACTIVATE_ORDER");
    settled(async || {
        steps
            .clone()
            .activate_order(called(&call, activate.clone()))
            .await
    })
    .await
    .unwrap();
    saga.succeeded("ACTIVATE_ORDER");
    Ok(Undo::Nothing)
}
