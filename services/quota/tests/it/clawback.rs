//! Taking back what an order granted.

use futures::future::join_all;
use ids::{TaskId, UserId};
use proto::quota::v1 as pb;
use rpc::error::info;

use crate::support::{Fixture, LOW_BELOW, Quota, bought, grant, in_seconds, reason};

/// What a clawback came to: granted, clawed back, pending, spent, expired.
fn figures(done: pb::ClawedBack) -> [i64; 5] {
    [
        done.granted,
        done.clawed_back,
        done.pending,
        done.spent,
        done.expired,
    ]
}

async fn buy(quota: &Quota, order: &str, line: u32, user: UserId, amount: i64) {
    quota
        .create_grant(bought(order, line, user, amount))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_left_is_taken_back_once() {
    let f = Fixture::new().await;
    let user = f.user_with(5).await;
    buy(&f.quota, "ORD1", 0, user, 10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 8).await.unwrap();
    f.quota.confirm(task).await.unwrap();
    // The older grant went first: 3 of the order are spent.
    for _ in 0..3 {
        let done = f.quota.claw_back(user, "ORD1", "refund-1", 0).await.unwrap();
        assert_eq!(figures(done), [10, 7, 0, 3, 0]);
        assert_eq!(f.quota.whole_balance(user).await, [15, 0, 0, 8, 0, 7]);
    }
    let events = f.quota.events().await;
    let told: Vec<_> = events
        .iter()
        .filter(|(topic, _)| topic == "quota.clawed_back")
        .map(|(_, data)| {
            (
                data["clawbackId"].as_str(),
                data["amount"].as_i64(),
                data["available"].as_i64(),
            )
        })
        .collect();
    assert_eq!(told, [(Some("refund-1"), Some(7), Some(0))]);
    assert_eq!(events.last().unwrap().0, "quota.low");
    assert_eq!(events.last().unwrap().1["threshold"], LOW_BELOW);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn what_is_reserved_follows_when_it_is_given_back() {
    let f = Fixture::new().await;
    let user = UserId::new();
    buy(&f.quota, "ORD1", 0, user, 10).await;
    let (kept, returned, partly) = (TaskId::new(), TaskId::new(), TaskId::new());
    for (task, amount) in [(kept, 2), (returned, 3), (partly, 4)] {
        f.quota.reserve(user, task, amount).await.unwrap();
    }
    let again = async || figures(f.quota.claw_back(user, "ORD1", "refund-1", 0).await.unwrap());
    assert_eq!(again().await, [10, 1, 9, 0, 0]);
    // Nothing of it can be reserved anew.
    assert_eq!(
        reason(f.quota.reserve(user, TaskId::new(), 1).await),
        "QUOTA_INSUFFICIENT"
    );

    f.quota.cancel(returned).await.unwrap();
    assert_eq!(again().await, [10, 4, 6, 0, 0]);
    f.quota.confirm(kept).await.unwrap();
    assert_eq!(again().await, [10, 4, 4, 2, 0]);
    f.quota.confirm_part(partly, 1).await.unwrap();
    assert_eq!(again().await, [10, 7, 0, 3, 0]);
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 0, 3, 0, 7]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_reservation_that_expires_pays_what_its_grant_owes() {
    let f = Fixture::new().await;
    let user = UserId::new();
    buy(&f.quota, "ORD1", 0, user, 10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 6).await.unwrap();
    f.quota.claw_back(user, "ORD1", "refund-1", 7).await.unwrap();
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 6, 0, 0, 4]);
    f.quota.run_out(task).await;
    f.quota.end_grant("order:ORD1:0").await;
    f.quota.cancel(task).await.unwrap();
    // 3 are owed; the rest comes back to a grant that is over.
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 0, 0, 3, 7]);
    let done = f.quota.claw_back(user, "ORD1", "refund-1", 7).await.unwrap();
    assert_eq!(figures(done), [10, 7, 0, 0, 3]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn parts_are_taken_back_from_what_would_be_burnt_last() {
    let f = Fixture::new().await;
    let user = UserId::new();
    buy(&f.quota, "ORD1", 0, user, 10).await;
    let soon = pb::CreateGrantRequest {
        expires_at: in_seconds(3_600),
        ..bought("ORD1", 1, user, 10)
    };
    f.quota.create_grant(soon).await.unwrap();
    let left = async || {
        sqlx::query_as::<_, (i64, i64)>(
            "select max(remaining) filter (where source_line = 0), max(remaining) filter (where source_line = 1) \
             from quota_grant",
        )
        .fetch_one(&f.quota.pool)
        .await
        .unwrap()
    };
    let done = f.quota.claw_back(user, "ORD1", "refund-1", 4).await.unwrap();
    assert_eq!(figures(done), [20, 4, 0, 0, 0]);
    assert_eq!(left().await, (6, 10));
    f.quota.claw_back(user, "ORD1", "refund-2", 8).await.unwrap();
    assert_eq!(left().await, (0, 8));
    // An order of which a part is refunded still grants.
    buy(&f.quota, "ORD1", 2, user, 1).await;
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_source_that_was_taken_back_grants_no_more() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let done = f.quota.claw_back(user, "ORD1", "refund-1", 0).await.unwrap();
    assert_eq!(figures(done), [0; 5], "it had not granted yet");
    let late = f.quota.create_grant(bought("ORD1", 0, user, 10)).await;
    assert_eq!(reason(late), "SOURCE_CLAWED_BACK");
    assert_eq!(f.quota.balance(user).await, [0; 4]);
    // What was granted before is answered as before.
    buy(&f.quota, "ORD2", 0, user, 10).await;
    f.quota.claw_back(user, "ORD2", "refund-2", 0).await.unwrap();
    let again = f.quota.create_grant(bought("ORD2", 0, user, 10)).await.unwrap();
    assert!(!again.created);
    assert_eq!(
        reason(f.quota.create_grant(bought("ORD2", 1, user, 10)).await),
        "SOURCE_CLAWED_BACK"
    );
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_source_grants_once() {
    let f = Fixture::new().await;
    let (user, other) = (UserId::new(), UserId::new());
    buy(&f.quota, "ORD1", 0, user, 10).await;
    for owner in [user, other] {
        let request = pb::CreateGrantRequest {
            grant_id: "another".to_owned(),
            ..bought("ORD1", 0, owner, 10)
        };
        assert_eq!(reason(f.quota.create_grant(request).await), "SOURCE_GRANTED");
    }
    for (request, field) in [
        (bought("ORD1", 0, other, 10), "user_id"),
        (bought("ORD1", 0, user, 11), "amount"),
        (
            pb::CreateGrantRequest {
                kind: pb::GrantKind::Bonus.into(),
                ..bought("ORD1", 0, user, 10)
            },
            "kind",
        ),
        (
            pb::CreateGrantRequest {
                priority: 5,
                ..bought("ORD1", 0, user, 10)
            },
            "priority",
        ),
        (
            pb::CreateGrantRequest {
                expires_at: in_seconds(60),
                ..bought("ORD1", 0, user, 10)
            },
            "expires_at",
        ),
        (
            pb::CreateGrantRequest {
                source: None,
                ..bought("ORD1", 0, user, 10)
            },
            "source",
        ),
    ] {
        let status = f.quota.create_grant(request).await.unwrap_err();
        let found = info(&status).unwrap();
        assert_eq!(
            (found.reason.as_str(), found.metadata["field"].as_str()),
            ("GRANT_MISMATCH", field)
        );
    }
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_clawback_id_of_another_clawback_is_a_mismatch_that_names_the_field() {
    let f = Fixture::new().await;
    let (user, other) = (UserId::new(), UserId::new());
    buy(&f.quota, "ORD1", 0, user, 10).await;
    f.quota.claw_back(user, "ORD1", "refund-1", 4).await.unwrap();
    for (who, order, id, amount, field) in [
        (other, "ORD1", "refund-1", 4, "user_id"),
        (user, "ORD2", "refund-1", 4, "source_id"),
        (user, "ORD1", "refund-1", 5, "amount"),
        (user, "ORD1", "refund-1", 0, "amount"),
        (other, "ORD1", "refund-2", 0, "user_id"),
    ] {
        let status = f.quota.claw_back(who, order, id, amount).await.unwrap_err();
        let found = info(&status).unwrap();
        assert_eq!(
            (found.reason.as_str(), found.metadata["field"].as_str()),
            ("CLAWBACK_MISMATCH", field)
        );
    }
    assert_eq!(f.quota.whole_balance(user).await, [10, 6, 0, 0, 0, 4]);
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clawback_that_races_reserves_takes_what_they_leave() {
    let f = Fixture::new().await;
    for round in 0..6 {
        let user = UserId::new();
        let order = format!("ORD{round}");
        buy(&f.quota, &order, 0, user, 40).await;
        let tasks: Vec<TaskId> = (0..20).map(|_| TaskId::new()).collect();
        let reserves = join_all(tasks.iter().map(|task| f.quota.reserve(user, *task, 3)));
        let (id, other) = (format!("a-{round}"), format!("b-{round}"));
        let clawbacks = join_all([
            f.quota.claw_back(user, &order, &id, 0),
            f.quota.claw_back(user, &order, &id, 0),
            f.quota.claw_back(user, &order, &other, 5),
        ]);
        let (reserved, clawed) = tokio::join!(reserves, clawbacks);
        assert!(clawed.iter().all(Result::is_ok), "{clawed:?}");
        let held = 3 * i64::try_from(reserved.iter().filter(|r| r.is_ok()).count()).unwrap();
        assert_eq!(f.quota.whole_balance(user).await, [40, 0, held, 0, 0, 40 - held]);
        // Confirms and cancels at once: what is not consumed is taken.
        let quota = &f.quota;
        let ended = join_all(tasks.iter().enumerate().map(|(n, task)| async move {
            if n % 2 == 0 {
                quota.cancel(*task).await.unwrap();
                0
            } else {
                quota.confirm(*task).await.map_or(0, |confirmed| confirmed.amount)
            }
        }));
        let consumed: i64 = ended.await.into_iter().sum();
        let whole = [40, 0, 0, consumed, 0, 40 - consumed];
        assert_eq!(f.quota.whole_balance(user).await, whole);
    }
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clawback_that_races_the_grant_leaves_nothing_of_it() {
    let f = Fixture::new().await;
    let user = f.user_with(1).await;
    let races = (0..32).map(|n| {
        let quota = &f.quota;
        async move {
            let order = format!("ORD{n}");
            let id = format!("refund-{order}");
            let (granted, clawed) = tokio::join!(
                quota.create_grant(bought(&order, 0, user, 5)),
                quota.claw_back(user, &order, &id, 0)
            );
            match granted {
                Ok(_) => assert_eq!(figures(clawed.unwrap()), [5, 5, 0, 0, 0]),
                refused => {
                    assert_eq!(reason(refused), "SOURCE_CLAWED_BACK");
                    assert_eq!(figures(clawed.unwrap()), [0; 5]);
                }
            }
        }
    });
    join_all(races).await;
    assert_eq!(f.quota.whole_balance(user).await[1], 1);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn grants_are_listed_with_what_became_of_them() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let monthly = pb::CreateGrantRequest {
        kind: pb::GrantKind::Membership.into(),
        expires_at: in_seconds(3_600),
        note: "October".to_owned(),
        ..grant("monthly", user, 10, 7)
    };
    f.quota.create_grant(monthly).await.unwrap();
    buy(&f.quota, "ORD1", 2, user, 20).await;
    f.quota.reserve(user, TaskId::new(), 4).await.unwrap();
    f.quota.claw_back(user, "ORD1", "refund-1", 5).await.unwrap();
    f.quota.end_grant("monthly").await;

    let page = async |size, token: &str| {
        let request = pb::ListGrantsRequest {
            user_id: user.to_string(),
            page_size: size,
            page_token: token.to_owned(),
        };
        let answer = f.quota.public.clone().list_grants(request).await.unwrap();
        answer.into_inner()
    };
    let first = page(1, "").await;
    let second = page(1, &first.next_page_token).await;
    assert_eq!(second.next_page_token, "");
    assert_eq!(
        page(0, "").await.grants,
        [first.grants.clone(), second.grants.clone()].concat()
    );

    let [order] = first.grants.try_into().unwrap();
    assert_eq!(
        (order.kind(), order.grant_id.as_str()),
        (pb::GrantKind::Purchase, "order:ORD1:2")
    );
    assert_eq!(
        [
            order.amount,
            order.remaining,
            order.used,
            order.expired,
            order.clawed_back
        ],
        [20, 15, 0, 0, 5]
    );
    let source = order.source.unwrap();
    assert_eq!(
        (source.r#type.as_str(), source.id.as_str(), source.line),
        ("order", "ORD1", 2)
    );
    let [monthly]: [pb::Grant; 1] = second.grants.try_into().unwrap();
    assert_eq!((monthly.kind(), monthly.priority), (pb::GrantKind::Membership, 7));
    assert_eq!((monthly.note.as_str(), monthly.source), ("October", None));
    // It is over, though nobody has noticed.
    assert_eq!(
        [
            monthly.amount,
            monthly.remaining,
            monthly.used,
            monthly.expired,
            monthly.clawed_back
        ],
        [10, 0, 4, 6, 0]
    );
}
