//! People settle what cannot be settled automatically, and it is written down who did.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, Rule};
use ids::{CaseId, ReceiptId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::desk_service_client::DeskServiceClient;
use proto::billing::v1::{CaseKind, Channel, Settlement, WithdrawalStatus};
use rpc::step::ACTOR_HEADER;
use test_support::eventually;
use token::Channel as Wire;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::earner::{Earner, assert_no_drift, transfers};
use crate::world::{DEADLINE, World, as_user, config, reason};

/// The desk, as an operator sees it.
pub(crate) fn desk(world: &World) -> DeskServiceClient<Wire> {
    DeskServiceClient::new(world.operator.clone())
}

/// A world whose providers do not answer transfers, and that tells a person after a second.
async fn silent() -> World {
    let mut impatient = config();
    impatient.case_after = Duration::from_secs(1);
    let mut world = World::quiet(impatient).await;
    let silence = |on| Rule {
        times: None,
        ..Rule::once(on, Behaviour::Status(500))
    };
    world.alipay.program(vec![
        silence(Operation::Transfer),
        silence(Operation::QueryTransfer),
    ]);
    world.run_jobs().await;
    world
}

async fn open_cases(world: &World) -> Vec<pb::Case> {
    let answer = desk(world).list_cases(pb::ListCasesRequest::default()).await;
    answer.unwrap().into_inner().cases
}

async fn until_case(world: &World) -> pb::Case {
    eventually(DEADLINE, async || open_cases(world).await.pop()).await
}

async fn resolve(world: &World, case_id: &str, settlement: Settlement) -> Result<pb::Case, Status> {
    let mut request = Request::new(pb::ResolveCaseRequest {
        case_id: case_id.to_owned(),
        settlement: settlement.into(),
        note: "the provider's hotline says so".to_owned(),
    });
    let actor = "alice@desk".parse().unwrap();
    request.metadata_mut().insert(ACTOR_HEADER, actor);
    let answer = desk(world).resolve_case(request).await?;
    Ok(answer.into_inner().case.unwrap())
}

/// Settles, again while the provider is being asked at that moment.
async fn settle(world: &World, case_id: &str, settlement: Settlement) -> pb::Case {
    eventually(DEADLINE, async || resolve(world, case_id, settlement).await).await
}

#[tokio::test]
async fn a_person_settles_a_withdrawal_whose_outcome_is_unknown() {
    for (settlement, status, ends) in [
        (Settlement::Succeeded, WithdrawalStatus::Succeeded, (400, 0, 600)),
        (Settlement::Failed, WithdrawalStatus::Failed, (1_000, 0, 0)),
    ] {
        let world = silent().await;
        let earner = Earner::with(&world, 1_000).await;
        let asked = earner.withdraw(Channel::Alipay, 600).await;
        let case = until_case(&world).await;
        assert_eq!(case.kind(), CaseKind::UnknownOutcome);
        assert_eq!(
            (case.subject.as_str(), &case.subject_id),
            ("withdrawal", &asked.withdrawal_id)
        );
        assert_eq!(
            (case.channel(), &case.number),
            (Channel::Alipay, &asked.withdrawal_no)
        );
        assert_eq!(earner.commission().await, (400, 600, 0), "it is not guessed");

        let resolved = settle(&world, &case.case_id, settlement).await;
        assert_eq!(resolved.resolved_by, "alice@desk");
        assert_eq!(resolved.note, "the provider's hotline says so");
        assert!(resolved.resolved_at.is_some());
        let found = earner.get(&asked.withdrawal_id).await;
        assert_eq!(found.status(), status);
        assert!(
            !found.error.contains("hotline"),
            "what is for the desk stays there"
        );
        earner.until_commission(ends).await;
        let checks: i64 = world.value("select count(*) from provider_checks").await;
        assert_eq!(checks, 0, "nobody asks any more");
        assert_eq!(
            reason(resolve(&world, &case.case_id, settlement).await),
            "CASE_RESOLVED"
        );
        assert_no_drift(&world).await;
    }
}

#[tokio::test]
async fn nothing_is_settled_while_the_provider_is_being_asked() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Alipay, 600).await;
    eventually(DEADLINE, async || {
        world.value::<i64>("select count(*) from provider_checks").await == 1
    })
    .await;
    let lease = "update provider_checks set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 minute'";
    sqlx::query(lease).execute(&world.pool).await.unwrap();
    let case_id = open(&world, "UNKNOWN_OUTCOME", "withdrawal", &asked.withdrawal_id).await;
    let refused = resolve(&world, &case_id, Settlement::Failed).await;
    assert_eq!(reason(refused), "SETTLEMENT_NOT_POSSIBLE");
    assert_eq!(open_cases(&world).await.len(), 1);
    assert_eq!(earner.commission().await, (400, 600, 0));
    // A note alone is always possible.
    resolve(&world, &case_id, Settlement::Unspecified).await.unwrap();
    assert_eq!(earner.commission().await, (400, 600, 0));
}

#[tokio::test]
async fn a_case_closed_without_an_outcome_is_asked_on_and_told_again_later() {
    let world = silent().await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Alipay, 600).await;
    let first = until_case(&world).await;
    resolve(&world, &first.case_id, Settlement::Unspecified)
        .await
        .unwrap();
    let second = until_case(&world).await;
    assert_ne!(second.case_id, first.case_id);
    let apart: bool = world
        .value("select max(opened_at) - max(resolved_at) >= interval '1 second' from cases")
        .await;
    assert!(apart, "the time is counted anew");
    world.alipay.program(Vec::new());
    earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    assert_eq!(transfers(&world, Channel::Alipay).len(), 1);
    assert_eq!(
        reason(resolve(&world, &second.case_id, Settlement::Failed).await),
        "SETTLEMENT_NOT_POSSIBLE",
        "the provider was faster"
    );
}

#[tokio::test]
async fn one_of_two_people_settles_a_case() {
    let world = silent().await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Alipay, 600).await;
    let case = until_case(&world).await;
    let both = [Settlement::Succeeded, Settlement::Failed];
    let answers = eventually(DEADLINE, async || {
        let all = both.map(|settlement| resolve(&world, &case.case_id, settlement));
        let answers = futures::future::join_all(all).await;
        answers.iter().any(Result::is_ok).then_some(answers)
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter(Result::is_err) {
        assert_eq!(reason(refused), "CASE_RESOLVED");
    }
    eventually(DEADLINE, async || earner.commission().await.1 == 0).await;
    let found = earner.get(&asked.withdrawal_id).await;
    let withdrawn = earner.commission().await.2;
    assert_eq!(found.status() == WithdrawalStatus::Succeeded, withdrawn == 600);
}

#[tokio::test]
async fn what_is_not_a_persons_to_settle_is_refused() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let payment = ids::PaymentId::new().to_string();
    let payment = open(&world, "UNKNOWN_OUTCOME", "payment", &payment).await;
    assert_eq!(
        reason(resolve(&world, &payment, Settlement::Succeeded).await),
        "SETTLEMENT_NOT_POSSIBLE"
    );
    let id = CaseId::new().to_string();
    assert_eq!(
        reason(resolve(&world, &id, Settlement::Failed).await),
        "CASE_NOT_FOUND"
    );
    assert_eq!(
        reason(resolve(&world, "case_x", Settlement::Failed).await),
        "INVALID_ID"
    );
    for request in [
        pb::ResolveCaseRequest {
            case_id: payment.clone(),
            note: String::new(),
            settlement: 0,
        },
        pb::ResolveCaseRequest {
            case_id: payment.clone(),
            note: " ".to_owned(),
            settlement: 0,
        },
        pb::ResolveCaseRequest {
            case_id: payment.clone(),
            note: "x".repeat(1_001),
            settlement: 0,
        },
        pb::ResolveCaseRequest {
            case_id: payment.clone(),
            note: "x".to_owned(),
            settlement: 9,
        },
    ] {
        assert_eq!(
            reason(desk(&world).resolve_case(request).await),
            "INVALID_ARGUMENT"
        );
    }
    let public = DeskServiceClient::new(world.public.clone());
    let list = as_user(earner.user_id, pb::ListCasesRequest::default());
    assert_eq!(reason(public.clone().list_cases(list).await), "PERMISSION_DENIED");
    assert_eq!(open_cases(&world).await.len(), 1);
}

#[tokio::test]
async fn cases_are_listed_newest_first_and_the_resolved_ones_if_wanted() {
    let world = World::quiet(config()).await;
    let mut made = Vec::new();
    for kind in [
        "UNKNOWN_OUTCOME",
        "ABNORMAL_REFUND",
        "AMOUNT_MISMATCH",
        "REFUND_FAILED",
        "CONTRADICTION",
    ] {
        let subject = UserId::new().uuid();
        made.insert(0, open_of(&world, kind, "refund", subject).await);
    }
    resolve(&world, &made[1], Settlement::Unspecified).await.unwrap();
    let list = async |include_resolved, page_token: String| {
        let request = pb::ListCasesRequest {
            include_resolved,
            page_size: 3,
            page_token,
        };
        desk(&world).list_cases(request).await
    };
    let first = list(true, String::new()).await.unwrap().into_inner();
    let second = list(true, first.next_page_token.clone())
        .await
        .unwrap()
        .into_inner();
    let all = first.cases.iter().chain(&second.cases);
    assert_eq!(all.map(|case| case.case_id.clone()).collect::<Vec<_>>(), made);
    assert_eq!(second.next_page_token, "");
    assert_eq!(second.cases[1].kind(), CaseKind::UnknownOutcome);
    let other = list(false, first.next_page_token).await;
    assert_eq!(reason(other), "INVALID_PAGE_TOKEN");
    assert_eq!(open_cases(&world).await.len(), 4);
}

#[tokio::test]
async fn deliveries_say_what_became_of_them() {
    let world = World::quiet(config()).await;
    for (channel, outcome, why, event, number) in [
        ("wechat", "REFUSED", Some("SIGNATURE"), None, None),
        ("wechat", "TAKEN", None, Some("EV-1"), Some("PAY001")),
        ("wechat", "DUPLICATE", None, Some("EV-1"), Some("PAY001")),
        ("alipay", "TAKEN", None, Some("EV-1"), Some("PAY002")),
    ] {
        sqlx::query(
            "insert into notify_receipts (id, channel, outcome, reason, detail, event_id, number, body_sha256)
             values ($1, $2, $3, $4, $4, $5, $6, $7)",
        )
        .bind(ReceiptId::new().uuid())
        .bind(channel)
        .bind(outcome)
        .bind(why)
        .bind(event)
        .bind(number)
        .bind([0xab_u8; 32].as_slice())
        .execute(&world.pool)
        .await
        .unwrap();
    }
    for (channel, state) in [("wechat", "HELD"), ("alipay", "PENDING")] {
        sqlx::query(
            "insert into notify_inbox (id, channel, event_id, subject, number, event, state, detail, applied_at)
             values ($1, $2, 'EV-1', 'payment', 'PAY001', '{}', $3, 'none of ours', case when $3 = 'HELD' then now() end)",
        )
        .bind(Uuid::now_v7())
        .bind(channel)
        .bind(state)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    let list = async |request| {
        let answer = desk(&world).list_notify_receipts(request).await;
        answer.map(|answer| answer.into_inner().receipts)
    };
    let all = list(pb::ListNotifyReceiptsRequest::default()).await.unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|r| {
            (
                r.channel(),
                r.outcome.as_str(),
                r.reason.as_str(),
                r.applied.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Channel::Alipay, "TAKEN", "", ""),
            (Channel::Wechat, "DUPLICATE", "", "HELD"),
            (Channel::Wechat, "TAKEN", "", "HELD"),
            (Channel::Wechat, "REFUSED", "SIGNATURE", ""),
        ]
    );
    assert_eq!(all[0].body_sha256, "ab".repeat(32));
    let refused = pb::ListNotifyReceiptsRequest {
        outcome: "REFUSED".to_owned(),
        ..Default::default()
    };
    assert_eq!(list(refused).await.unwrap().len(), 1);
    let about = pb::ListNotifyReceiptsRequest {
        number: "PAY001".to_owned(),
        ..Default::default()
    };
    assert_eq!(list(about).await.unwrap().len(), 2);
    let of = pb::ListNotifyReceiptsRequest {
        channel: Channel::Alipay.into(),
        ..Default::default()
    };
    assert_eq!(list(of).await.unwrap().len(), 1);
    for wrong in [
        pb::ListNotifyReceiptsRequest {
            outcome: "MAYBE".to_owned(),
            ..Default::default()
        },
        pb::ListNotifyReceiptsRequest {
            channel: 9,
            ..Default::default()
        },
        pb::ListNotifyReceiptsRequest {
            number: "x".repeat(65),
            ..Default::default()
        },
    ] {
        assert_eq!(reason(list(wrong).await), "INVALID_ARGUMENT");
    }
}

async fn open(world: &World, kind: &str, subject: &str, id: &str) -> String {
    let (_, hex) = id.split_once('_').unwrap();
    open_of(world, kind, subject, hex.parse().unwrap()).await
}

async fn open_of(world: &World, kind: &str, subject: &str, id: Uuid) -> String {
    let case_id = CaseId::new();
    sqlx::query(
        "insert into cases (id, kind, channel, subject, subject_id, number, detail)
         values ($1, $2, 'alipay', $3, $4, 'NUMBER', 'for a test')",
    )
    .bind(case_id.uuid())
    .bind(kind)
    .bind(subject)
    .bind(id)
    .execute(&world.pool)
    .await
    .unwrap();
    case_id.to_string()
}
