use futures::future::join_all;
use ids::{TaskId, UserId};

use crate::support::{Fixture, grant, reason};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_reserves_of_one_task_reserve_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    for answer in join_all((0..16).map(|_| f.quota.reserve(user, task, 3))).await {
        assert_eq!(answer.unwrap().amount, 3);
    }
    assert_eq!(f.quota.balance(user).await, [10, 7, 3, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_grants_of_one_id_grant_once() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let answers = join_all((0..16).map(|_| f.quota.create_grant(grant("g1", user, 5, 0)))).await;
    let created = answers
        .into_iter()
        .filter(|a| a.as_ref().unwrap().created)
        .count();
    assert_eq!(created, 1);
    assert_eq!(f.quota.balance(user).await, [5, 5, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_is_confirmed_or_cancelled_never_both() {
    let f = Fixture::new().await;
    let user = f.user_with(32).await;
    for _ in 0..16 {
        let task = TaskId::new();
        f.quota.reserve(user, task, 2).await.unwrap();
        let (confirmed, cancelled) = tokio::join!(f.quota.confirm(task), f.quota.cancel(task));
        match (confirmed, cancelled) {
            (Ok(_), refused @ Err(_)) => assert_eq!(reason(refused), "RESERVATION_CONFIRMED"),
            (refused @ Err(_), Ok(_)) => assert_eq!(reason(refused), "RESERVATION_CANCELLED"),
            both => panic!("{both:?}"),
        }
    }
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_that_races_the_reserve_leaves_nothing_reserved() {
    let f = Fixture::new().await;
    let user = f.user_with(1_000).await;
    let races = (0..64).map(|_| async {
        let task = TaskId::new();
        let (reserved, cancelled) = tokio::join!(f.quota.reserve(user, task, 2), f.quota.cancel(task));
        let cancelled = cancelled.unwrap();
        match reserved {
            Ok(_) => assert_eq!(cancelled.unwrap().amount, 2),
            refused => assert_eq!(
                (reason(refused).as_str(), cancelled),
                ("RESERVATION_CANCELLED", None)
            ),
        }
    });
    join_all(races).await;
    assert_eq!(f.quota.balance(user).await, [1_000, 1_000, 0, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_confirm_that_races_the_reserve_finds_all_of_it_or_nothing() {
    let f = Fixture::new().await;
    let user = f.user_with(1_000).await;
    let races = (0..64).map(|_| async {
        let task = TaskId::new();
        let (reserved, confirmed) = tokio::join!(f.quota.reserve(user, task, 2), f.quota.confirm(task));
        assert_eq!(reserved.unwrap().amount, 2);
        match confirmed {
            Ok(confirmed) => assert_eq!(confirmed.amount, 2),
            refused => assert_eq!(reason(refused), "RESERVATION_NOT_FOUND"),
        }
    });
    join_all(races).await;
    f.quota.assert_no_drift().await;
}
