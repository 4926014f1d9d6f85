//! WITHDRAWAL.

use std::time::Duration;

use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use rpc::outcome::{Verdict, classify};
use tonic::{Response, Status};

use crate::fake_sagas::{Running, called};
use crate::world::DEADLINE;

/// Runs the saga to its end.
pub(crate) async fn run(saga: &Running, input: pb::WithdrawalInput) {
    let id = || input.withdrawal_id.clone();
    let freeze = || pb::FreezeCommissionRequest {
        withdrawal_id: id(),
        user_id: input.user_id.clone(),
        amount: input.amount,
        channel: input.channel,
        saga_id: saga.saga_id.to_string(),
    };
    let call = saga.action("COMMISSION");
    let tried = insistent(|| {
        let mut steps = saga.steps.clone();
        let request = called(&call, freeze());
        async move { steps.freeze_commission(request).await }
    })
    .await;
    if let Err(refused) = tried {
        saga.refused("COMMISSION", &refused);
        saga.ended(SagaPhase::Compensated);
        return;
    }
    saga.succeeded("COMMISSION");

    let transfer = || pb::CallProviderTransferRequest { withdrawal_id: id() };
    let call = saga.action("TRANSFER");
    let decided = insistent(|| {
        let mut steps = saga.steps.clone();
        let request = called(&call, transfer());
        async move { steps.call_provider_transfer(request).await }
    })
    .await;
    match decided {
        Ok(_) => {
            saga.succeeded("TRANSFER");
            let deduct = || pb::DeductCommissionRequest { withdrawal_id: id() };
            let call = saga.retriable("COMMISSION_CONFIRM");
            insistent(|| {
                let mut steps = saga.steps.clone();
                let request = called(&call, deduct());
                async move { steps.deduct_commission(request).await }
            })
            .await
            .expect("a confirm has no no");
            saga.succeeded("COMMISSION_CONFIRM");
            saga.ended(SagaPhase::Completed);
        }
        Err(refused) => {
            saga.refused("TRANSFER", &refused);
            let unfreeze = || pb::UnfreezeCommissionRequest {
                withdrawal_id: id(),
                cause: "REFUSED".to_owned(),
            };
            let call = saga.compensation("COMMISSION");
            insistent(|| {
                let mut steps = saga.steps.clone();
                let request = called(&call, unfreeze());
                async move { steps.unfreeze_commission(request).await }
            })
            .await
            .expect("a cancel has no no");
            saga.ended(SagaPhase::Compensated);
        }
    }
}

/// Calls a step again and again until it answers, with a reply or a refusal: not knowing is no answer.
async fn insistent<R, F>(mut call: impl FnMut() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut polls = tokio::time::interval(Duration::from_millis(5));
    let until = async {
        loop {
            polls.tick().await;
            match call().await {
                Ok(answer) if rpc::step::pending(answer.metadata()).is_none() => {
                    return Ok(answer.into_inner());
                }
                Ok(_) => {}
                Err(status) => {
                    if let Verdict::Refused { .. } = classify(&status, billing::DOMAIN) {
                        return Err(status);
                    }
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, until)
        .await
        .expect("the step does not answer")
}
