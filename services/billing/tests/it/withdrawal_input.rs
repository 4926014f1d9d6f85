//! What may be asked for, by whom, and how it is listed.

use ids::UserId;
use proto::billing::v1 as pb;
use proto::billing::v1::Channel;

use crate::earner::Earner;
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn what_cannot_be_right_is_refused_by_name() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let good = earner.wish(Channel::Wechat, 300);
    for (field, wish) in [
        (
            "amount",
            pb::CreateWithdrawalRequest {
                amount: 0,
                ..good.clone()
            },
        ),
        (
            "amount",
            pb::CreateWithdrawalRequest {
                amount: -1,
                ..good.clone()
            },
        ),
        (
            "amount",
            pb::CreateWithdrawalRequest {
                amount: i64::MAX,
                ..good.clone()
            },
        ),
        (
            "channel",
            pb::CreateWithdrawalRequest {
                channel: 0,
                ..good.clone()
            },
        ),
        (
            "channel",
            pb::CreateWithdrawalRequest {
                channel: 99,
                ..good.clone()
            },
        ),
        (
            "recipient",
            pb::CreateWithdrawalRequest {
                recipient: String::new(),
                ..good.clone()
            },
        ),
        (
            "recipient",
            pb::CreateWithdrawalRequest {
                recipient: "../x".to_owned(),
                ..good.clone()
            },
        ),
        (
            "recipient_name",
            pb::CreateWithdrawalRequest {
                recipient_name: "x".repeat(65),
                ..good.clone()
            },
        ),
        (
            "request_id",
            pb::CreateWithdrawalRequest {
                request_id: "x".repeat(129),
                ..good.clone()
            },
        ),
        (
            "request_id",
            pb::CreateWithdrawalRequest {
                request_id: "a\nb".to_owned(),
                ..good.clone()
            },
        ),
    ] {
        let refused = earner.create(wish).await;
        let info = rpc::error::info(refused.as_ref().unwrap_err()).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("INVALID_ARGUMENT", field)
        );
    }
    for (credit_id, amount) in [
        ("", 1),
        ("a\tb", 1),
        (&"x".repeat(201), 1),
        ("c", 0),
        ("c", 10_000_000_001),
    ] {
        assert_eq!(reason(earner.credit(credit_id, amount).await), "INVALID_ARGUMENT");
    }
    assert!(world.sagas.started("WITHDRAWAL").is_empty());
}

#[tokio::test]
async fn a_credit_counts_once() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 0).await;
    let all = (0..8).map(|_| earner.credit("invite-1", 70));
    let created: Vec<bool> = futures::future::join_all(all)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().created)
        .collect();
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(earner.commission().await, (70, 0, 0));
    assert_eq!(reason(earner.credit("invite-1", 71).await), "CREDIT_MISMATCH");
    let other = Earner::with(&world, 0).await;
    assert_eq!(reason(other.credit("invite-1", 70).await), "CREDIT_MISMATCH");
    let accounts: i64 = world.value("select count(*) from commission_accounts").await;
    assert_eq!(accounts, 1, "a refused credit opens no account");
}

#[tokio::test]
async fn nobody_sees_the_withdrawals_of_others() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Wechat, 300).await;
    let request = || pb::GetWithdrawalRequest {
        withdrawal_id: asked.withdrawal_id.clone(),
    };
    let mut client = earner.client.clone();
    let stranger = client.get_withdrawal(as_user(UserId::new(), request())).await;
    assert_eq!(reason(stranger), "WITHDRAWAL_NOT_FOUND");
    let named = pb::GetCommissionRequest {
        user_id: earner.user_id.to_string(),
    };
    let stranger = client.get_commission(as_user(UserId::new(), named)).await;
    assert_eq!(reason(stranger), "PERMISSION_DENIED");
    let credit = pb::CreditCommissionRequest {
        credit_id: "mine".to_owned(),
        user_id: earner.user_id.to_string(),
        amount: 1_000_000,
        note: String::new(),
    };
    let own = client.credit_commission(as_user(earner.user_id, credit)).await;
    assert_eq!(reason(own), "PERMISSION_DENIED");
}

#[tokio::test]
async fn withdrawals_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, earner.withdraw(Channel::Wechat, 10).await.withdrawal_id);
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListWithdrawalsRequest {
            page_size: 2,
            page_token,
            ..pb::ListWithdrawalsRequest::default()
        };
        let answer = earner
            .client
            .clone()
            .list_withdrawals(as_user(earner.user_id, request))
            .await;
        let answer = answer.unwrap().into_inner();
        seen.extend(answer.withdrawals.into_iter().map(|found| found.withdrawal_id));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, made);
    let request = pb::ListWithdrawalsRequest {
        page_token: "0".repeat(40),
        ..pb::ListWithdrawalsRequest::default()
    };
    let answer = earner
        .client
        .clone()
        .list_withdrawals(as_user(earner.user_id, request))
        .await;
    assert_eq!(reason(answer), "INVALID_PAGE_TOKEN");
}
