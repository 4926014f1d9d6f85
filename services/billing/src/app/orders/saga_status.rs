//! GetSagaStatus: where a saga stands, for the user who caused it.

use ids::{PaymentId, RefundId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::saga::v1::{GetSagaRequest, Saga, SagaPhase};

use super::super::{App, sagas};
use crate::error::Error;
use crate::store::{payments, refunds};

/// Returns where a saga stands that billing has started. `confined_to` is the only user whose sagas the caller may see.
///
/// The orchestrator shows one saga whole or not at all; what is passed on says nothing of other people's things.
pub(crate) async fn get_saga_status(
    app: &App,
    saga_id: SagaId,
    confined_to: Option<UserId>,
) -> Result<pb::GetSagaStatusResponse, Error> {
    let request = GetSagaRequest {
        saga_id: saga_id.to_string(),
        ..GetSagaRequest::default()
    };
    let saga = sagas::find(app, request).await?;
    let owner = owner(app, &saga).await?;
    if confined_to.is_some_and(|user_id| owner.as_deref() != Some(&user_id.to_string())) {
        return Err(Error::NoSaga);
    }
    let status = match saga.phase() {
        SagaPhase::Unspecified | SagaPhase::Running => "RUNNING",
        SagaPhase::Compensating => "COMPENSATING",
        SagaPhase::Completed => "COMPLETED",
        SagaPhase::Compensated => "COMPENSATED",
        SagaPhase::Resolved => "RESOLVED",
    };
    let undone = matches!(saga.phase(), SagaPhase::Compensating | SagaPhase::Compensated);
    let error = match saga.error.as_ref() {
        Some(error) if !error.reason.is_empty() => error.reason.clone(),
        // Undone without a refusal: by its deadline, or by somebody.
        _ if undone => saga
            .reason()
            .as_str_name()
            .trim_start_matches("SAGA_REASON_")
            .to_owned(),
        _ => String::new(),
    };
    Ok(pb::GetSagaStatusResponse {
        saga_id: saga.saga_id,
        status: status.to_owned(),
        current_step: saga.current_step,
        error,
    })
}

/// Returns the user whose saga it is, as text; `None` if that is nobody any more.
async fn owner(app: &App, saga: &Saga) -> Result<Option<String>, Error> {
    let json = &saga.input_json;
    Ok(match saga.r#type.as_str() {
        "PAYMENT_PURCHASE" => {
            let input: pb::PaymentPurchaseInput =
                sagas::input("evenkeel.billing.v1.PaymentPurchaseInput", json)?;
            Some(input.user_id)
        }
        "PAYMENT" => {
            let input: pb::PaymentInput = sagas::input("evenkeel.billing.v1.PaymentInput", json)?;
            Some(input.user_id)
        }
        "WITHDRAWAL" => {
            let input: pb::WithdrawalInput = sagas::input("evenkeel.billing.v1.WithdrawalInput", json)?;
            Some(input.user_id)
        }
        "PAYMENT_REFUND" => {
            let input: pb::PaymentRefundInput = sagas::input("evenkeel.billing.v1.PaymentRefundInput", json)?;
            of_refund(app, &input).await?.map(|user_id| user_id.to_string())
        }
        _ => return Err(Error::NoSaga),
    })
}

/// A refund that was refused has no row; its payment has one.
async fn of_refund(app: &App, input: &pb::PaymentRefundInput) -> Result<Option<UserId>, Error> {
    if let Ok(refund_id) = input.refund_id.parse::<RefundId>()
        && let Some(refund) = refunds::find(&app.pool, refund_id).await?
    {
        return Ok(Some(refund.user_id));
    }
    let Ok(payment_id) = input.payment_id.parse::<PaymentId>() else {
        return Ok(None);
    };
    let payment = payments::find(&app.pool, payment_id).await?;
    Ok(payment.map(|payment| payment.user_id))
}
