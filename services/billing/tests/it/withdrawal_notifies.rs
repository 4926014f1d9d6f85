//! What a provider tells of a transfer on its own is applied once, and contradicts nothing silently.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, Rule, TransferState};
use ids::CaseId;
use proto::billing::v1 as pb;
use proto::billing::v1::{CaseKind, Channel, Settlement, WithdrawalStatus};
use test_support::eventually;

use crate::desk::desk;
use crate::earner::{Earner, assert_no_drift};
use crate::world::{DEADLINE, World, config};

/// A world that hardly asks: what is learned is learned from notifications.
async fn silent() -> World {
    let mut trusting = config();
    trusting.ask_after = vec![Duration::from_secs(3600)];
    let mut world = World::quiet(trusting).await;
    world.run_jobs().await;
    world
}

/// Begins a withdrawal that waits for its recipient.
async fn awaiting(world: &World, earner: &Earner) -> pb::Withdrawal {
    let asked = earner.withdraw(Channel::Wechat, 600).await;
    eventually(DEADLINE, async || {
        let found = earner.get(&asked.withdrawal_id).await;
        (!found.package.is_empty()).then_some(found)
    })
    .await;
    // The worker has given the check back: it asks in an hour.
    eventually(DEADLINE, async || {
        world
            .value::<i64>("select count(*) from provider_checks where lease_token is null")
            .await
            == 1
    })
    .await;
    asked
}

fn accept(world: &World, asked: &pb::Withdrawal) {
    let ended = world
        .wechat
        .end_transfer(&asked.withdrawal_no, TransferState::Succeeded);
    assert!(ended.is_some());
}

/// Waits until so many notifications were applied, and returns what came of them.
async fn applied(world: &World, wanted: usize) -> Vec<String> {
    eventually(DEADLINE, async || {
        let rows: Vec<(String,)> =
            sqlx::query_as("select state from notify_inbox where state <> 'PENDING' order by id")
                .fetch_all(&world.pool)
                .await
                .unwrap();
        (rows.len() == wanted).then(|| rows.into_iter().map(|row| row.0).collect())
    })
    .await
}

#[tokio::test]
async fn a_notification_settles_a_withdrawal_without_a_question() {
    for (state, status, ends) in [
        (
            TransferState::Succeeded,
            WithdrawalStatus::Succeeded,
            (400, 0, 600),
        ),
        (TransferState::Failed, WithdrawalStatus::Failed, (1_000, 0, 0)),
    ] {
        let world = silent().await;
        let earner = Earner::with(&world, 1_000).await;
        let asked = awaiting(&world, &earner).await;
        world.wechat.end_transfer(&asked.withdrawal_no, state).unwrap();
        earner.until(&asked.withdrawal_id, status).await;
        earner.until_commission(ends).await;
        assert_eq!(applied(&world, 1).await, ["APPLIED"]);
        let checks: i64 = world.value("select count(*) from provider_checks").await;
        assert_eq!(checks, 0);
        assert_no_drift(&world).await;
    }
}

#[tokio::test]
async fn a_notification_that_comes_often_counts_once() {
    let world = silent().await;
    let again = Rule::once(Operation::NotifyTransfer, Behaviour::Duplicate(6));
    world.wechat.program(vec![again]);
    let earner = Earner::with(&world, 1_000).await;
    let asked = awaiting(&world, &earner).await;
    accept(&world, &asked);
    earner.until_commission((400, 0, 600)).await;
    eventually(DEADLINE, async || {
        world.value::<i64>("select count(*) from notify_receipts").await >= 6
    })
    .await;
    assert_eq!(applied(&world, 1).await, ["APPLIED"]);
    assert_eq!(earner.movements().await, ["credited", "frozen", "withdrawn"]);
    let told: i64 = world
        .value("select count(*) from outbox where topic = 'withdrawal.succeeded'")
        .await;
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_notification_of_another_amount_is_held() {
    let world = silent().await;
    let wrong = Rule::once(Operation::NotifyTransfer, Behaviour::WrongAmount);
    world.wechat.program(vec![wrong]);
    let earner = Earner::with(&world, 1_000).await;
    let asked = awaiting(&world, &earner).await;
    accept(&world, &asked);
    assert_eq!(applied(&world, 1).await, ["HELD"]);
    assert_eq!(earner.commission().await, (400, 600, 0));
    let answer = desk(&world).list_cases(pb::ListCasesRequest::default()).await;
    let cases = answer.unwrap().into_inner().cases;
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].kind(), CaseKind::AmountMismatch);
}

#[tokio::test]
async fn money_that_arrives_after_a_person_said_no_is_for_a_person() {
    let world = silent().await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = awaiting(&world, &earner).await;
    let case_id = CaseId::new();
    sqlx::query(
        "insert into cases (id, kind, channel, subject, subject_id, number, detail)
         select $1, 'UNKNOWN_OUTCOME', channel, 'withdrawal', id, withdrawal_no, 'x' from withdrawals",
    )
    .bind(case_id.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let request = pb::ResolveCaseRequest {
        case_id: case_id.to_string(),
        settlement: Settlement::Failed.into(),
        note: "the recipient says no".to_owned(),
    };
    desk(&world).resolve_case(request).await.unwrap();
    earner.until_commission((1_000, 0, 0)).await;
    accept(&world, &asked);
    assert_eq!(applied(&world, 1).await, ["HELD"]);
    let answer = desk(&world).list_cases(pb::ListCasesRequest::default()).await;
    let cases = answer.unwrap().into_inner().cases;
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].kind(), CaseKind::Contradiction);
    assert_eq!(cases[0].subject_id, asked.withdrawal_id);
    let found = earner.get(&asked.withdrawal_id).await;
    assert_eq!(found.status(), WithdrawalStatus::Failed, "nothing is guessed");
    assert_eq!(earner.commission().await, (1_000, 0, 0));
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_a_question() {
    let world = World::new().await;
    let lost = Rule {
        times: None,
        ..Rule::once(Operation::NotifyTransfer, Behaviour::Lose)
    };
    world.wechat.program(vec![lost]);
    let earner = Earner::with(&world, 1_000).await;
    let asked = awaiting(&world, &earner).await;
    accept(&world, &asked);
    earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    let receipts: i64 = world.value("select count(*) from notify_receipts").await;
    assert_eq!(receipts, 0);
}
