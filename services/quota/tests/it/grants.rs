use ids::UserId;
use proto::quota::v1 as pb;
use serde_json::json;

use crate::support::{Fixture, LOW_BELOW, grant, reason};

#[tokio::test]
async fn the_first_grant_opens_the_account() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let request = pb::GetBalanceRequest {
        user_id: user.to_string(),
    };
    let unknown = f.quota.public.clone().get_balance(request).await;
    assert_eq!(reason(unknown), "QUOTA_ACCOUNT_NOT_FOUND");

    let done = f.quota.create_grant(grant("g1", user, 100, 0)).await.unwrap();
    assert!(done.created);
    assert_eq!(f.quota.balance(user).await, [100, 100, 0, 0]);
    let done = f.quota.create_grant(grant("g2", user, 20, 0)).await.unwrap();
    assert_eq!(done.balance.unwrap().quota_remaining, 120);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn the_same_grant_counts_once() {
    let f = Fixture::new().await;
    let user = UserId::new();
    for created in [true, false, false] {
        let done = f.quota.create_grant(grant("g1", user, 100, 0)).await.unwrap();
        assert_eq!(done.created, created);
        assert_eq!(done.balance.unwrap().available, 100);
    }
    assert_eq!(f.quota.events().await.len(), 1);
}

#[tokio::test]
async fn a_grant_id_of_another_user_or_amount_is_a_mismatch_and_opens_no_account() {
    let f = Fixture::new().await;
    let (user, other) = (UserId::new(), UserId::new());
    f.quota.create_grant(grant("g1", user, 100, 0)).await.unwrap();

    for (request, field) in [
        (grant("g1", other, 100, 0), "user_id"),
        (grant("g1", user, 99, 0), "amount"),
    ] {
        let status = f.quota.create_grant(request).await.unwrap_err();
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("GRANT_MISMATCH", field)
        );
    }
    let request = pb::GetBalanceRequest {
        user_id: other.to_string(),
    };
    assert_eq!(
        reason(f.quota.public.clone().get_balance(request).await),
        "QUOTA_ACCOUNT_NOT_FOUND"
    );
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn an_account_cannot_be_granted_more_than_it_can_count() {
    let f = Fixture::new().await;
    let user = UserId::new();
    sqlx::query("insert into account (user_id, granted, available) values ($1, $2, $2)")
        .bind(user.uuid())
        .bind(i64::MAX - 10)
        .execute(&f.quota.pool)
        .await
        .unwrap();
    let refused = f.quota.create_grant(grant("g1", user, 11, 0)).await;
    assert_eq!(reason(refused), "INVALID_ARGUMENT");
    f.quota.create_grant(grant("g1", user, 10, 0)).await.unwrap();
    assert_eq!(f.quota.balance(user).await[0], i64::MAX);
}

#[tokio::test]
async fn grants_are_burnt_by_priority_then_age_and_given_back_exactly() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let late = f.quota.grant(user, 10, 200).await;
    let old = f.quota.grant(user, 10, 100).await;
    let young = f.quota.grant(user, 10, 100).await;
    let first = f.quota.grant(user, 5, 1).await;
    let remaining = async || {
        let rows: Vec<(String, i64)> = sqlx::query_as("select grant_id, remaining from quota_grant")
            .fetch_all(&f.quota.pool)
            .await
            .unwrap();
        [&first, &old, &young, &late].map(|id| rows.iter().find(|(found, _)| found == id).unwrap().1)
    };

    let (a, b) = (ids::TaskId::new(), ids::TaskId::new());
    f.quota.reserve(user, a, 12).await.unwrap();
    assert_eq!(remaining().await, [0, 3, 10, 10]);
    f.quota.reserve(user, b, 15).await.unwrap();
    assert_eq!(remaining().await, [0, 0, 0, 8]);
    f.quota.cancel(a).await.unwrap();
    assert_eq!(remaining().await, [5, 7, 0, 8]);
    f.quota.confirm(b).await.unwrap();
    assert_eq!(remaining().await, [5, 7, 0, 8]);
    assert_eq!(f.quota.balance(user).await, [35, 20, 0, 15]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn running_low_is_told_once_until_there_is_more() {
    let f = Fixture::new().await;
    let user = f.user_with(4).await;
    for _ in 0..4 {
        f.quota.reserve(user, ids::TaskId::new(), 1).await.unwrap();
    }
    f.quota.grant(user, 5, 0).await;
    f.quota.reserve(user, ids::TaskId::new(), 5).await.unwrap();
    let events = f.quota.events().await;
    let low: Vec<_> = events.iter().filter(|(topic, _)| topic == "quota.low").collect();
    assert_eq!(low.len(), 2, "{events:?}");
    assert_eq!(
        low[0].1,
        json!({"userId": user.to_string(), "available": 1, "threshold": LOW_BELOW})
    );
    assert_eq!(low[1].1["available"], 0);
    let bad: i64 = sqlx::query_scalar(
        "select count(*) from outbox where (data ->> 'timestamp')::timestamptz not between now() - interval '1 min' and now()",
    )
    .fetch_one(&f.quota.pool)
    .await
    .unwrap();
    assert_eq!(bad, 0);
}

#[tokio::test]
async fn every_movement_is_an_event_for_other_services() {
    let f = Fixture::new().await;
    let user = UserId::new();
    f.quota.create_grant(grant("g1", user, 10, 0)).await.unwrap();
    let (kept, returned) = (ids::TaskId::new(), ids::TaskId::new());
    f.quota.reserve(user, kept, 3).await.unwrap();
    f.quota.reserve(user, returned, 4).await.unwrap();
    f.quota.confirm(kept).await.unwrap();
    f.quota.cancel(returned).await.unwrap();
    // Repeated calls say nothing new.
    f.quota.confirm(kept).await.unwrap();
    f.quota.cancel(returned).await.unwrap();

    let (user, kept, returned) = (user.to_string(), kept.to_string(), returned.to_string());
    let of_task = |task: &str, amount: i64, available: i64| json!({"userId": user, "taskId": task, "amount": amount, "available": available});
    let expected = [
        (
            "quota.granted",
            json!({"userId": user, "grantId": "g1", "amount": 10, "available": 10, "kind": "admin"}),
        ),
        ("quota.reserved", of_task(&kept, 3, 7)),
        ("quota.reserved", of_task(&returned, 4, 3)),
        ("quota.confirmed", of_task(&kept, 3, 3)),
        ("quota.released", of_task(&returned, 4, 7)),
    ];
    let expected: Vec<_> = expected.map(|(topic, data)| (topic.to_owned(), data)).into();
    assert_eq!(f.quota.events().await, expected);
    let keys: Vec<String> =
        sqlx::query_scalar("select distinct key from outbox where traceparent is not null")
            .fetch_all(&f.quota.pool)
            .await
            .unwrap();
    assert_eq!(keys, [user]);
}
