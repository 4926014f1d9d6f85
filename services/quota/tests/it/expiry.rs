//! Reservations and grants end by the server's time, whether or not anybody has noticed.

use futures::future::join_all;
use ids::{TaskId, UserId};
use proto::quota::v1 as pb;
use proto::quota::v1::ReservationState;
use serde_json::json;
use test_support::eventually;

use crate::support::{DEADLINE, Fixture, Quota, grant, in_seconds, reason};

/// Returns kind and available delta of every movement, the oldest first.
async fn movements(quota: &Quota, user: UserId) -> Vec<(String, i64)> {
    sqlx::query_as("select kind, available_delta from ledger where user_id = $1 order by entry_id")
        .bind(user.uuid())
        .fetch_all(&quota.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_reservation_that_ran_out_is_given_back_by_the_job_and_told_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, live) = (TaskId::new(), TaskId::new());
    f.quota.reserve(user, task, 3).await.unwrap();
    f.quota.reserve(user, live, 1).await.unwrap();
    f.quota.run_out(task).await;
    f.quota.run_jobs();
    eventually(DEADLINE, || async {
        f.quota.balance(user).await == [10, 9, 1, 0]
    })
    .await;

    let found = f.quota.reservation(task).await.unwrap();
    assert_eq!(found.state(), ReservationState::Expired);
    assert_eq!(
        f.quota.reservation(live).await.unwrap().state(),
        ReservationState::Reserved
    );
    let expired: Vec<_> = f.quota.events().await;
    let expired: Vec<_> = expired
        .iter()
        .filter(|(topic, _)| topic == "quota.expired")
        .collect();
    let data = json!({"userId": user.to_string(), "taskId": task.to_string(), "amount": 3, "available": 9});
    assert_eq!(expired, [&("quota.expired".to_owned(), data)]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn an_expired_reservation_cannot_be_confirmed() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 3).await.unwrap();
    f.quota.run_out(task).await;
    // No job runs here: the clock decides.
    assert_eq!(reason(f.quota.confirm(task).await), "RESERVATION_EXPIRED");
    assert_eq!(reason(f.quota.extend(task, 60).await), "RESERVATION_EXPIRED");
    assert_eq!(
        reason(f.quota.reserve(user, task, 3).await),
        "RESERVATION_EXPIRED"
    );
    let seen = f.quota.reservation(task).await.unwrap();
    assert_eq!(seen.state(), ReservationState::Expired);
    assert_eq!(f.quota.balance(user).await, [10, 7, 3, 0]);

    // A cancel gives it back at once; it stays what readers have seen.
    let given = f.quota.cancel(task).await.unwrap().unwrap();
    assert_eq!(given.state(), ReservationState::Expired);
    assert_eq!(f.quota.cancel(task).await.unwrap().unwrap(), given);
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    assert_eq!(reason(f.quota.confirm(task).await), "RESERVATION_EXPIRED");
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_reservation_stands_as_long_as_asked_and_longer_if_extended() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    let request = |seconds| pb::ReserveQuotaRequest {
        user_id: user.to_string(),
        task_id: task.to_string(),
        amount: 1,
        hold_for: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let mut public = f.quota.public.clone();
    for seconds in [0, -5, 30 * 24 * 3600 + 1] {
        assert_eq!(
            reason(public.reserve_quota(request(seconds)).await),
            "INVALID_ARGUMENT"
        );
    }
    let answer = public.reserve_quota(request(60)).await.unwrap().into_inner();
    let made = answer.reservation.unwrap();
    let end = |reservation: &pb::Reservation| reservation.expires_at.unwrap().seconds;
    assert!((59..=61).contains(&(end(&made) - made.created_at.unwrap().seconds)));

    let longer = f.quota.extend(task, 3_600).await.unwrap();
    assert!(end(&longer) >= end(&made) + 3_500);
    let same = f.quota.extend(task, 1).await.unwrap();
    assert_eq!(same.expires_at, longer.expires_at, "never shorter");
    assert_eq!(reason(f.quota.extend(task, 0).await), "INVALID_ARGUMENT");
    assert_eq!(
        reason(f.quota.extend(TaskId::new(), 60).await),
        "RESERVATION_NOT_FOUND"
    );
    f.quota.confirm(task).await.unwrap();
    assert_eq!(reason(f.quota.extend(task, 60).await), "RESERVATION_CONFIRMED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reservation_is_confirmed_or_expires_never_both() {
    let f = Fixture::new().await;
    let user = f.user_with(1_000).await;
    f.quota.run_jobs();
    // They run out while they are confirmed, by everybody at once.
    let races = (0..60).map(|n: u64| {
        let quota = &f.quota;
        async move {
            let task = TaskId::new();
            quota.reserve(user, task, 2).await.unwrap();
            let soon = "update quota_transactions set expires_at = clock_timestamp() + $2 * interval '1 ms' \
                 where task_id = $1";
            sqlx::query(soon)
                .bind(task.uuid())
                .bind(i32::try_from(n % 20).unwrap())
                .execute(&quota.pool)
                .await
                .unwrap();
            let (confirmed, cancelled) = tokio::join!(quota.confirm(task), async {
                if n.is_multiple_of(3) {
                    Some(quota.cancel(task).await)
                } else {
                    None
                }
            });
            let state = quota.reservation(task).await.unwrap().state();
            match confirmed {
                Ok(_) => {
                    assert_eq!(state, ReservationState::Confirmed);
                    assert!(cancelled.is_none_or(|cancelled| cancelled.is_err()));
                    2
                }
                Err(status) => {
                    let reason = reason(Err::<(), _>(status));
                    let known = ["RESERVATION_EXPIRED", "RESERVATION_CANCELLED"];
                    assert!(known.contains(&reason.as_str()), "{reason}");
                    assert_ne!(state, ReservationState::Confirmed);
                    0
                }
            }
        }
    });
    let consumed: i64 = join_all(races).await.into_iter().sum();
    eventually(DEADLINE, || async {
        f.quota.balance(user).await == [1_000, 1_000 - consumed, 0, consumed]
    })
    .await;
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_extension_that_was_granted_is_kept() {
    let f = Fixture::new().await;
    let user = f.user_with(1_000).await;
    f.quota.run_jobs();
    let races = (0..60).map(|n: u64| {
        let quota = &f.quota;
        async move {
            let task = TaskId::new();
            quota.reserve(user, task, 2).await.unwrap();
            let soon = "update quota_transactions set expires_at = clock_timestamp() + $2 * interval '1 ms' \
                 where task_id = $1";
            sqlx::query(soon)
                .bind(task.uuid())
                .bind(i32::try_from(n % 10).unwrap())
                .execute(&quota.pool)
                .await
                .unwrap();
            match quota.extend(task, 600).await {
                Ok(_) => assert_eq!(
                    quota.confirm(task).await.unwrap().state(),
                    ReservationState::Confirmed
                ),
                refused => assert_eq!(reason(refused), "RESERVATION_EXPIRED"),
            }
        }
    });
    join_all(races).await;
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_replicas_expire_each_reservation_once() {
    let f = Fixture::new().await;
    let other = Quota::serve(f.database.pool(quota::SCHEMA).await).await;
    let user = f.user_with(1_000).await;
    // More than the job reads at once.
    for _ in 0..130 {
        f.quota.reserve(user, TaskId::new(), 1).await.unwrap();
    }
    sqlx::query("update quota_transactions set expires_at = clock_timestamp() - interval '1 s'")
        .execute(&f.quota.pool)
        .await
        .unwrap();
    f.quota.run_jobs();
    other.run_jobs();
    eventually(DEADLINE, || async {
        f.quota.balance(user).await == [1_000, 1_000, 0, 0]
    })
    .await;
    let told: i64 = sqlx::query_scalar("select count(*) from outbox where topic = 'quota.expired'")
        .fetch_one(&f.quota.pool)
        .await
        .unwrap();
    assert_eq!(told, 130);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_broken_account_does_not_keep_others_from_expiring() {
    let f = Fixture::new().await;
    let (broken, whole) = (f.user_with(10).await, f.user_with(10).await);
    let (first, second) = (TaskId::new(), TaskId::new());
    f.quota.reserve(broken, first, 3).await.unwrap();
    f.quota.reserve(whole, second, 3).await.unwrap();
    // Its reservation cannot be given back: the account would have less than nothing reserved.
    sqlx::query("update account set available = 10, reserved = 0 where user_id = $1")
        .bind(broken.uuid())
        .execute(&f.quota.pool)
        .await
        .unwrap();
    f.quota.run_out(first).await;
    f.quota.run_out(second).await;
    f.quota.run_jobs();
    eventually(DEADLINE, || async {
        f.quota.balance(whole).await == [10, 10, 0, 0]
    })
    .await;
    let stuck = f.quota.reservation(first).await.unwrap();
    assert_eq!(stuck.state(), ReservationState::Expired, "by the clock");
    // Once it is mended, the job goes on with it.
    assert!(quota::rebuild_account(&f.quota.pool, broken).await.unwrap());
    eventually(DEADLINE, || async {
        f.quota.balance(broken).await == [10, 10, 0, 0]
    })
    .await;
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn what_is_left_of_a_grant_is_lost_with_its_end() {
    let f = Fixture::new().await;
    let user = UserId::new();
    f.quota.grant(user, 5, 0).await;
    let request = pb::CreateGrantRequest {
        expires_at: in_seconds(3_600),
        ..grant("monthly", user, 10, 0)
    };
    f.quota.create_grant(request).await.unwrap();
    let task = TaskId::new();
    f.quota.reserve(user, task, 4).await.unwrap();
    f.quota.end_grant("monthly").await;

    // Nobody has noticed yet, but the clock has: for readers, and for who wants to burn it.
    assert_eq!(f.quota.whole_balance(user).await, [15, 5, 4, 0, 6, 0]);
    assert_eq!(
        reason(f.quota.reserve(user, TaskId::new(), 6).await),
        "QUOTA_INSUFFICIENT"
    );
    f.quota.reserve(user, TaskId::new(), 4).await.unwrap();
    assert_eq!(f.quota.whole_balance(user).await, [15, 1, 8, 0, 6, 0]);
    f.quota.assert_no_drift().await;

    // What comes back to it is lost, too, and the ledger says so.
    f.quota.cancel(task).await.unwrap();
    assert_eq!(f.quota.whole_balance(user).await, [15, 1, 4, 0, 10, 0]);
    let expected = [
        ("granted", 5),
        ("granted", 10),
        ("reserved", -4),
        ("grant_expired", -6),
        ("reserved", -4),
        ("cancelled", 4),
        ("grant_expired", -4),
    ];
    let expected: Vec<_> = expected.map(|(kind, n)| (kind.to_owned(), n)).into();
    assert_eq!(movements(&f.quota, user).await, expected);
    let events = f.quota.events().await;
    let lost: Vec<_> = events
        .iter()
        .filter(|(topic, _)| topic == "quota.expired")
        .map(|(_, data)| {
            (
                data["grantId"].as_str(),
                data["amount"].as_i64(),
                data["available"].as_i64(),
            )
        })
        .collect();
    let monthly = Some("monthly");
    assert_eq!(lost, [(monthly, Some(6), Some(5)), (monthly, Some(4), Some(1))]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn the_job_ends_grants_and_tells_when_little_is_left() {
    let f = Fixture::new().await;
    let users = [UserId::new(), UserId::new()];
    for (n, user) in users.into_iter().enumerate() {
        let request = pb::CreateGrantRequest {
            expires_at: in_seconds(3_600),
            ..grant(&format!("g{n}"), user, 10, 0)
        };
        f.quota.create_grant(request).await.unwrap();
        f.quota.end_grant(&format!("g{n}")).await;
    }
    f.quota.run_jobs();
    let settled = "select count(*) from account where available = 0 and expired = 10";
    eventually(DEADLINE, || async {
        let found: i64 = sqlx::query_scalar(settled)
            .fetch_one(&f.quota.pool)
            .await
            .unwrap();
        found == 2
    })
    .await;
    let topics: Vec<String> = f
        .quota
        .events()
        .await
        .into_iter()
        .map(|(topic, _)| topic)
        .collect();
    assert_eq!(topics.iter().filter(|topic| *topic == "quota.low").count(), 2);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_grant_that_comes_after_its_end_is_told_and_lost() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let request = pb::CreateGrantRequest {
        expires_at: in_seconds(-60),
        ..grant("late", user, 10, 0)
    };
    for created in [true, false] {
        let done = f.quota.create_grant(request.clone()).await.unwrap();
        let balance = done.balance.unwrap();
        assert_eq!(
            (done.created, balance.available, balance.expired),
            (created, 0, 10)
        );
    }
    f.quota.assert_no_drift().await;
}
