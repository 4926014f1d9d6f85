//! Commission is paid out, or is available again.

use doubles::pay::{Behaviour, Operation, Rule, TransferState};
use proto::billing::v1 as pb;
use proto::billing::v1::{Channel, WithdrawalStatus};
use test_support::eventually;

use crate::earner::{Earner, assert_no_drift, program, transfers};
use crate::world::{DEADLINE, World, as_user, config, reason};

const CHANNELS: [Channel; 2] = [Channel::Wechat, Channel::Alipay];

#[tokio::test]
async fn a_withdrawal_reaches_the_person() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Wechat, 600).await;
    assert!(asked.withdrawal_no.starts_with("WDR") && asked.withdrawal_no.len() == 29);
    assert_eq!(earner.commission().await, (400, 600, 0));
    let awaiting = eventually(DEADLINE, async || {
        let found = earner.get(&asked.withdrawal_id).await;
        (!found.package.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(awaiting.status(), WithdrawalStatus::Processing);
    world
        .wechat
        .end_transfer(&asked.withdrawal_no, TransferState::Succeeded)
        .unwrap();
    let arrived = earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    let [sent] = &transfers(&world, Channel::Wechat)[..] else {
        panic!("one transfer");
    };
    assert_eq!(arrived.package, "");
    assert_eq!(
        (sent.amount_minor, &sent.provider_no),
        (600, &arrived.provider_no)
    );
    earner.until_commission((400, 0, 600)).await;
    assert_eq!(earner.movements().await, ["credited", "frozen", "withdrawn"]);
    let told: Vec<String> = facts(&world, &asked.withdrawal_id).await;
    assert_eq!(told, ["withdrawal.succeeded"]);
    assert_eq!(open_checks(&world).await, 0);
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_provider_that_sends_at_once_needs_nobody_to_accept() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let mut wish = earner.wish(Channel::Alipay, 1_000);
    wish.recipient_name = "张三".to_owned();
    let asked = earner.create(wish).await.unwrap().withdrawal.unwrap();
    earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    earner.until_commission((0, 0, 1_000)).await;
    let [sent] = &transfers(&world, Channel::Alipay)[..] else {
        panic!("one transfer");
    };
    assert_eq!(sent.recipient, "2088102146225135");
}

#[tokio::test]
async fn a_transfer_that_fails_makes_the_commission_available_again() {
    for channel in CHANNELS {
        let world = World::new().await;
        let state = TransferState::Failed;
        let ends = Behaviour::TransferEnds { state, after_ms: 30 };
        program(&world, channel, vec![Rule::once(Operation::Transfer, ends)]);
        let earner = Earner::with(&world, 1_000).await;
        let asked = earner.withdraw(channel, 600).await;
        let failed = earner.until(&asked.withdrawal_id, WithdrawalStatus::Failed).await;
        assert!(!failed.error.is_empty() && failed.package.is_empty());
        earner.until_commission((1_000, 0, 0)).await;
        assert_eq!(earner.movements().await, ["credited", "frozen", "unfrozen"]);
        assert_eq!(facts(&world, &asked.withdrawal_id).await, ["withdrawal.failed"]);
        let saga = world.sagas.saga("WITHDRAWAL", &asked.withdrawal_id).unwrap();
        assert_eq!(saga.error.unwrap().reason, "CHANNEL_REFUSED");
        assert_no_drift(&world).await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_provider_is_final() {
    for (channel, code) in [
        (Channel::Wechat, "ACCOUNT_ERROR"),
        (Channel::Alipay, "PAYEE_NOT_EXIST"),
    ] {
        let world = World::new().await;
        let no = Behaviour::Code {
            code: code.to_owned(),
            status: 400,
        };
        program(&world, channel, vec![Rule::once(Operation::Transfer, no)]);
        let earner = Earner::with(&world, 1_000).await;
        let asked = earner.withdraw(channel, 600).await;
        let failed = earner.until(&asked.withdrawal_id, WithdrawalStatus::Failed).await;
        assert!(failed.error.contains(code), "{failed:?}");
        earner.until_commission((1_000, 0, 0)).await;
        assert_eq!(transfers(&world, channel), []);
    }
}

#[tokio::test]
async fn more_than_is_available_is_refused() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let refused = earner.create(earner.wish(Channel::Alipay, 1_001)).await;
    let facts = rpc::error::info(refused.as_ref().unwrap_err()).unwrap().metadata;
    assert_eq!(reason(refused), "COMMISSION_INSUFFICIENT");
    assert_eq!(
        (facts["wanted"].as_str(), facts["available"].as_str()),
        ("1001", "1000")
    );
    let poor = Earner::with(&world, 0).await;
    assert_eq!(
        reason(poor.create(poor.wish(Channel::Alipay, 1)).await),
        "COMMISSION_INSUFFICIENT"
    );
    assert_eq!(poor.commission().await, (0, 0, 0));
    assert!(world.sagas.started("WITHDRAWAL").is_empty());
}

#[tokio::test]
async fn parallel_withdrawals_never_take_more_than_there_is() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let all = (0..12).map(|_| earner.create(earner.wish(Channel::Alipay, 300)));
    let answers = futures::future::join_all(all).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(taken.len(), 3);
    for refused in refused {
        assert_eq!(reason(refused), "COMMISSION_INSUFFICIENT");
    }
    earner.until_commission((100, 0, 900)).await;
    assert_eq!(transfers(&world, Channel::Alipay).len(), 3);
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_repeated_request_is_the_same_withdrawal() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let wish = earner.wish(Channel::Wechat, 300);
    let all = (0..5).map(|_| earner.create(wish.clone()));
    let mut answers = futures::future::join_all(all).await;
    answers.push(earner.create(wish.clone()).await);
    let ids = answers
        .into_iter()
        .map(|answer| answer.unwrap().withdrawal.unwrap().withdrawal_id);
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(earner.commission().await, (700, 300, 0));
    for other in [
        pb::CreateWithdrawalRequest {
            amount: 301,
            ..wish.clone()
        },
        pb::CreateWithdrawalRequest {
            recipient: "somebody_else".to_owned(),
            ..wish.clone()
        },
        pb::CreateWithdrawalRequest {
            recipient_name: "x".to_owned(),
            ..wish.clone()
        },
        pb::CreateWithdrawalRequest {
            channel: Channel::Alipay.into(),
            ..wish.clone()
        },
    ] {
        assert_eq!(reason(earner.create(other).await), "ORDER_MISMATCH");
    }
    // The request id is the user's own.
    let other = Earner::with(&world, 1_000).await;
    other.create(wish).await.unwrap();
}

#[tokio::test]
async fn one_of_two_contents_of_a_request_id_is_taken() {
    let mut quick = config();
    quick.wait = std::time::Duration::from_secs(1);
    let world = World::quiet(quick).await;
    let earner = Earner::with(&world, 1_000).await;
    let wish = earner.wish(Channel::Wechat, 300);
    let other = pb::CreateWithdrawalRequest {
        recipient: "somebody_else".to_owned(),
        ..wish.clone()
    };
    let (first, second) = tokio::join!(earner.create(wish), earner.create(other.clone()));
    assert_ne!(first.is_ok(), second.is_ok());
    let refused = if first.is_ok() { second } else { first };
    assert_eq!(reason(refused), "ORDER_MISMATCH");
    assert_eq!(earner.commission().await, (700, 300, 0));
    // A saga that has frozen nothing so far knows only its input.
    world.sagas.stall("WITHDRAWAL");
    let wish = earner.wish(Channel::Wechat, 300);
    earner.create(wish.clone()).await.unwrap();
    let other = pb::CreateWithdrawalRequest { amount: 301, ..wish };
    assert_eq!(reason(earner.create(other).await), "ORDER_MISMATCH");
}

#[tokio::test]
async fn the_idempotency_key_stands_for_an_absent_request_id() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut wish = earner.wish(Channel::Wechat, 300);
        wish.request_id = String::new();
        let mut request = as_user(earner.user_id, wish);
        request
            .metadata_mut()
            .insert("idempotency-key", "k-1".parse().unwrap());
        let answer = earner.client.clone().create_withdrawal(request).await.unwrap();
        ids.push(answer.into_inner().withdrawal.unwrap().withdrawal_id);
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_slow_saga_is_answered_by_its_id() {
    let mut slow = config();
    slow.wait = std::time::Duration::from_secs(1);
    let world = World::quiet(slow).await;
    world.sagas.stall("WITHDRAWAL");
    let earner = Earner::with(&world, 1_000).await;
    let answer = earner.create(earner.wish(Channel::Wechat, 300)).await.unwrap();
    assert!(answer.saga_id.starts_with("saga_"));
    assert_eq!(answer.withdrawal, None);
}

async fn facts(world: &World, withdrawal_id: &str) -> Vec<String> {
    let facts: Vec<(String,)> = sqlx::query_as("select topic from outbox where key = $1 order by topic")
        .bind(withdrawal_id)
        .fetch_all(&world.pool)
        .await
        .unwrap();
    facts.into_iter().map(|fact| fact.0).collect()
}

async fn open_checks(world: &World) -> i64 {
    world.value("select count(*) from provider_checks").await
}
