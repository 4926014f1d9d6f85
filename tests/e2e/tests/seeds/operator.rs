//! Who looks at cases: asks the provider what became of the money, acts there where a person has to, and says so at the desk.

use doubles::pay::{Books, RefundState, TransferState};
use ids::PaymentId;
use proto::billing::v1::{
    Case, CaseKind, Channel, CreateRefundRequest, GetRefundRequest, ListCasesRequest, RefundCause,
    ResolveCaseRequest, Settlement,
};
use rand::Rng as _;
use rand::rngs::StdRng;
use tonic::Status;

use crate::world::World;

/// Looks at every open case once. A case that cannot be closed now is looked at again the next time.
pub(crate) async fn look(world: &World, random: &mut StdRng) {
    accept(world);
    let request = ListCasesRequest {
        page_size: 100,
        ..ListCasesRequest::default()
    };
    let Ok(listed) = world.desk.clone().list_cases(request).await else {
        return;
    };
    for case in listed.into_inner().cases {
        match case.kind() {
            CaseKind::Contradiction | CaseKind::Unspecified => {
                world.complain(format!(
                    "{} of {}: {}",
                    case.kind().as_str_name(),
                    case.number,
                    case.detail
                ));
                let _ = resolve(world, &case, Settlement::Unspecified).await;
            }
            CaseKind::UnknownOutcome | CaseKind::AbnormalRefund | CaseKind::AmountMismatch => {
                let learned = if case.subject == "refund" {
                    settle_refund(world, &case, random).await
                } else {
                    Settlement::Unspecified
                };
                // A person may leave it to the next question all the same.
                let said = if random.random_bool(0.5) {
                    learned
                } else {
                    Settlement::Unspecified
                };
                if resolve(world, &case, said).await.is_err() {
                    let _ = resolve(world, &case, Settlement::Unspecified).await;
                }
            }
            CaseKind::RefundFailed => {
                give_back(world, &case).await;
                let _ = resolve(world, &case, Settlement::Unspecified).await;
            }
        }
    }
}

fn books(world: &World, channel: Channel) -> Books {
    match channel {
        Channel::Alipay => world.billing.alipay.books(),
        Channel::Wechat | Channel::Unspecified => world.billing.wechat.books(),
    }
}

/// Recipients who never accepted: the provider's time for that is over.
fn accept(world: &World) {
    let waiting = world.billing.wechat.books().transfers.into_values();
    for transfer in waiting.filter(|transfer| transfer.state == TransferState::Waiting) {
        let _ = world
            .billing
            .wechat
            .end_transfer(&transfer.number, TransferState::Failed);
    }
}

/// Ends a refund at its provider that will not end by itself, and says what became of it.
async fn settle_refund(world: &World, case: &Case, random: &mut StdRng) -> Settlement {
    let found = |books: Books| books.refunds.get(&case.number).map(|refund| refund.state);
    match found(books(world, case.channel())) {
        None => Settlement::Unspecified,
        Some(RefundState::Succeeded) => Settlement::Succeeded,
        Some(RefundState::Closed) => Settlement::Failed,
        Some(RefundState::Processing | RefundState::Abnormal) => {
            let (state, settlement) = if random.random_bool(0.7) {
                ("succeeded", Settlement::Succeeded)
            } else {
                ("closed", Settlement::Failed)
            };
            let base = match case.channel() {
                Channel::Alipay => world.billing.alipay.base_url(),
                Channel::Wechat | Channel::Unspecified => world.billing.wechat.url(),
            };
            let url = format!("{base}/_refunds/{}/end", case.number);
            let ended = reqwest::Client::new().post(url).json(&state).send().await;
            // Otherwise it has just ended by itself: the next look tells how.
            match ended.and_then(reqwest::Response::error_for_status) {
                Ok(_) => settlement,
                Err(_) => Settlement::Unspecified,
            }
        }
    }
}

/// Asks again for money that did not go back, if nobody else does.
async fn give_back(world: &World, case: &Case) {
    let payment_id = if case.subject == "payment" {
        case.subject_id.parse::<PaymentId>().ok().map(|id| id.to_string())
    } else {
        let request = GetRefundRequest {
            refund_id: case.subject_id.clone(),
        };
        let found = world.payments.clone().get_refund(request).await.ok();
        let refund = found.and_then(|found| found.into_inner().refund);
        refund
            .filter(|refund| refund.cause() != RefundCause::Compensation)
            .map(|refund| refund.payment_id)
    };
    let Some(payment_id) = payment_id else {
        return;
    };
    let request = CreateRefundRequest {
        payment_id,
        reason: "paid late".to_owned(),
        request_id: case.case_id.clone(),
        ..CreateRefundRequest::default()
    };
    // If it is under way already, it is not asked for twice.
    let _ = world.payments.clone().create_refund(request).await;
}

async fn resolve(world: &World, case: &Case, settlement: Settlement) -> Result<(), Status> {
    let request = ResolveCaseRequest {
        case_id: case.case_id.clone(),
        settlement: settlement.into(),
        note: "looked at by the test".to_owned(),
    };
    world.desk.clone().resolve_case(request).await.map(drop)
}
