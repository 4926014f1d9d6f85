use ids::{TaskId, UserId};
use proto::quota::v1::ReservationState;

use crate::support::{Fixture, reason};

#[tokio::test]
async fn a_reservation_is_set_aside_then_consumed() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    let reserved = f.quota.reserve(user, task, 3).await.unwrap();
    assert_eq!(reserved.state(), ReservationState::Reserved);
    assert_eq!((reserved.user_id, reserved.amount), (user.to_string(), 3));
    assert_eq!(f.quota.balance(user).await, [10, 7, 3, 0]);

    let confirmed = f.quota.confirm(task).await.unwrap();
    assert_eq!(confirmed.state(), ReservationState::Confirmed);
    assert_eq!(confirmed, f.quota.confirm(task).await.unwrap(), "idempotent");
    assert_eq!(confirmed, f.quota.reservation(task).await.unwrap());
    assert_eq!(f.quota.balance(user).await, [10, 7, 0, 3]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn an_amount_left_out_is_one() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    assert_eq!(f.quota.reserve(user, TaskId::new(), 0).await.unwrap().amount, 1);
}

#[tokio::test]
async fn a_cancel_gives_back_exactly_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 10).await.unwrap();
    let first = f.quota.cancel(task).await.unwrap().unwrap();
    assert_eq!(first.state(), ReservationState::Cancelled);
    assert_eq!(f.quota.cancel(task).await.unwrap().unwrap(), first);
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn too_little_quota_changes_nothing() {
    let f = Fixture::new().await;
    let user = f.user_with(2).await;
    let task = TaskId::new();
    let status = f.quota.reserve(user, task, 3).await.unwrap_err();
    assert_eq!(status.message(), "3 wanted, 2 available");
    let info = rpc::error::info(&status).unwrap();
    assert_eq!(info.reason, "QUOTA_INSUFFICIENT");
    assert_eq!(
        (
            info.metadata["wanted"].as_str(),
            info.metadata["available"].as_str()
        ),
        ("3", "2")
    );

    assert_eq!(f.quota.balance(user).await, [2, 2, 0, 0]);
    assert_eq!(reason(f.quota.reservation(task).await), "RESERVATION_NOT_FOUND");
    assert_eq!(f.quota.events().await.len(), 1, "only the grant");
    assert_eq!(
        f.quota.reserve(user, task, 2).await.unwrap().amount,
        2,
        "the task id is free"
    );
}

#[tokio::test]
async fn an_unknown_user_has_no_quota() {
    let f = Fixture::new().await;
    let refused = f.quota.reserve(UserId::new(), TaskId::new(), 1).await;
    assert_eq!(reason(refused), "QUOTA_INSUFFICIENT");
}

#[tokio::test]
async fn a_repeated_reserve_gets_the_same_reservation_even_when_nothing_is_left() {
    let f = Fixture::new().await;
    let user = f.user_with(3).await;
    let task = TaskId::new();
    let first = f.quota.reserve(user, task, 3).await.unwrap();
    assert_eq!(f.quota.reserve(user, task, 3).await.unwrap(), first);
    assert_eq!(f.quota.balance(user).await, [3, 0, 3, 0]);
    f.quota.confirm(task).await.unwrap();
    let again = f.quota.reserve(user, task, 3).await.unwrap();
    assert_eq!(again.state(), ReservationState::Confirmed);
}

#[tokio::test]
async fn a_task_id_of_another_reservation_is_a_mismatch_that_names_the_field() {
    let f = Fixture::new().await;
    let (user, other) = (f.user_with(10).await, f.user_with(10).await);
    let task = TaskId::new();
    f.quota.reserve(user, task, 3).await.unwrap();
    for (user, amount, field) in [(other, 3, "user_id"), (user, 4, "amount"), (user, 400, "amount")] {
        let status = f.quota.reserve(user, task, amount).await.unwrap_err();
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("RESERVATION_MISMATCH", field)
        );
    }
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_confirmed_reservation_cannot_be_cancelled() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 3).await.unwrap();
    f.quota.confirm(task).await.unwrap();
    assert_eq!(reason(f.quota.cancel(task).await), "RESERVATION_CONFIRMED");
    assert_eq!(f.quota.balance(user).await, [10, 7, 0, 3]);
}

#[tokio::test]
async fn a_cancelled_reservation_cannot_be_confirmed_or_made_again() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 3).await.unwrap();
    f.quota.cancel(task).await.unwrap();
    assert_eq!(reason(f.quota.confirm(task).await), "RESERVATION_CANCELLED");
    assert_eq!(
        reason(f.quota.reserve(user, task, 3).await),
        "RESERVATION_CANCELLED"
    );
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
}

#[tokio::test]
async fn an_unknown_reservation_cannot_be_confirmed() {
    let f = Fixture::new().await;
    assert_eq!(
        reason(f.quota.confirm(TaskId::new()).await),
        "RESERVATION_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_cancel_before_the_reserve_keeps_the_reserve_out() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    assert_eq!(f.quota.cancel(task).await.unwrap(), None);
    assert_eq!(f.quota.cancel(task).await.unwrap(), None);
    assert_eq!(
        reason(f.quota.reserve(user, task, 1).await),
        "RESERVATION_CANCELLED"
    );
    assert_eq!(
        reason(f.quota.reserve(UserId::new(), task, 1).await),
        "RESERVATION_CANCELLED"
    );
    assert_eq!(reason(f.quota.confirm(task).await), "RESERVATION_CANCELLED");
    assert_eq!(reason(f.quota.reservation(task).await), "RESERVATION_NOT_FOUND");
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_part_can_be_confirmed_and_the_rest_goes_back_where_it_was_taken_last() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let first = f.quota.grant(user, 4, 1).await;
    let second = f.quota.grant(user, 10, 2).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 9).await.unwrap();
    assert_eq!(
        reason(f.quota.confirm_part(task, 10).await),
        "INVALID_ARGUMENT",
        "more than reserved"
    );
    let confirmed = f.quota.confirm_part(task, 3).await.unwrap();
    assert_eq!((confirmed.amount, confirmed.released), (9, 6));
    assert_eq!(f.quota.balance(user).await, [14, 11, 0, 3]);
    let remaining: Vec<(String, i64)> =
        sqlx::query_as("select grant_id, remaining from quota_grant order by priority")
            .fetch_all(&f.quota.pool)
            .await
            .unwrap();
    assert_eq!(remaining, [(first, 1), (second, 10)]);

    assert_eq!(f.quota.confirm_part(task, 3).await.unwrap(), confirmed);
    for amount in [0, 2, 9] {
        let status = f.quota.confirm_part(task, amount).await.unwrap_err();
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("RESERVATION_MISMATCH", "amount")
        );
    }
    let released: Vec<_> = f.quota.events().await;
    let released: Vec<_> = released
        .iter()
        .filter(|(topic, _)| topic == "quota.released")
        .collect();
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].1["amount"], 6);
    assert_eq!(released[0].1["available"], 11);
    f.quota.assert_no_drift().await;
}
