//! PAYMENT.

use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use crate::fake_sagas::{Running, called, settled};

const RECORD: &str = "CREATE_ORDER";
const CALL: &str = "CALL_PAYMENT_CHANNEL";

/// Runs the saga to its end.
pub(crate) async fn run(saga: &Running, input: pb::PaymentInput) {
    let record = pb::CreatePaymentRecordRequest {
        payment_id: input.payment_id.clone(),
        user_id: input.user_id,
        order_id: input.order_id,
        amount: input.amount,
        channel: input.channel,
        saga_id: saga.saga_id.to_string(),
    };
    let action = saga.action(RECORD);
    let made = settled(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&action, record.clone()));
        async move { steps.create_payment_record(request).await }
    });
    if let Err(status) = made.await {
        saga.refused(RECORD, &status);
        saga.ended(SagaPhase::Compensated);
        return;
    }
    saga.succeeded(RECORD);

    let payment_id = input.payment_id;
    let action = saga.action(CALL);
    let call = pb::CallPaymentChannelRequest {
        payment_id: payment_id.clone(),
    };
    let shown = settled(|| {
        let (mut steps, request) = (saga.steps.clone(), called(&action, call.clone()));
        async move { steps.call_payment_channel(request).await }
    });
    match shown.await {
        Ok(_) => {
            saga.succeeded(CALL);
            saga.ended(SagaPhase::Completed);
        }
        Err(status) => {
            saga.refused(CALL, &status);
            let undo = saga.compensation(RECORD);
            let discard = pb::DiscardPaymentRecordRequest {
                payment_id,
                cause: "REFUSED".to_owned(),
            };
            let discarded = settled(|| {
                let (mut steps, request) = (saga.steps.clone(), called(&undo, discard.clone()));
                async move { steps.discard_payment_record(request).await }
            });
            discarded.await.unwrap();
            saga.ended(SagaPhase::Compensated);
        }
    }
}
