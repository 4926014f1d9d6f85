use ids::{TaskId, UserId};
use proto::quota::v1 as pb;
use rpc::outcome::{Verdict, classify};
use rpc::step;

use crate::support::{Fixture, action, called, compensation_of, reason};

fn reserve(user: UserId, task: TaskId, amount: i64) -> pb::ReserveRequest {
    pb::ReserveRequest {
        user_id: user.to_string(),
        task_id: task.to_string(),
        amount,
        hold_for: None,
    }
}

fn cancel(task: TaskId) -> pb::CancelRequest {
    pb::CancelRequest {
        task_id: task.to_string(),
    }
}

fn confirm(task: TaskId) -> pb::ConfirmRequest {
    pb::ConfirmRequest {
        task_id: task.to_string(),
        amount: 0,
    }
}

#[tokio::test]
async fn a_repeated_reserve_step_reserves_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, call) = (TaskId::new(), action("RESERVE_QUOTA"));
    for _ in 0..3 {
        let mut steps = f.quota.steps.clone();
        let answer = steps
            .reserve(called(&call, reserve(user, task, 4)))
            .await
            .unwrap();
        assert!(step::is_stored(answer.metadata()));
        assert_eq!(
            *answer.get_ref(),
            pb::ReserveResponse {
                amount: 4,
                available: 6
            }
        );
    }
    assert_eq!(f.quota.balance(user).await, [10, 6, 4, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_refused_reserve_step_stays_refused_after_a_grant() {
    let f = Fixture::new().await;
    let user = f.user_with(1).await;
    let (task, call) = (TaskId::new(), action("RESERVE_QUOTA"));
    let mut steps = f.quota.steps.clone();
    for _ in 0..2 {
        let status = steps
            .reserve(called(&call, reserve(user, task, 2)))
            .await
            .unwrap_err();
        assert_eq!(
            classify(&status, quota::DOMAIN),
            Verdict::Refused { stored: true }
        );
        assert_eq!(status.message(), "2 wanted, 1 available");
        f.quota.grant(user, 100, 0).await;
    }
    let undo = steps
        .cancel(called(&compensation_of(&call), cancel(task)))
        .await
        .unwrap();
    assert_eq!(undo.into_inner().released, 0);
    assert_eq!(f.quota.balance(user).await, [201, 201, 0, 0]);
}

#[tokio::test]
async fn a_compensated_reserve_is_given_back_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, call) = (TaskId::new(), action("RESERVE_QUOTA"));
    let mut steps = f.quota.steps.clone();
    steps
        .reserve(called(&call, reserve(user, task, 4)))
        .await
        .unwrap();
    for _ in 0..3 {
        let undo = called(&compensation_of(&call), cancel(task));
        let answer = steps.cancel(undo).await.unwrap();
        assert_eq!(answer.into_inner().released, 4);
    }
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    assert_eq!(f.quota.events().await.len(), 3, "granted, reserved, released");
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_reserve_step_that_comes_after_its_cancel_is_superseded() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, call) = (TaskId::new(), action("RESERVE_QUOTA"));
    let mut steps = f.quota.steps.clone();
    let undo = called(&compensation_of(&call), cancel(task));
    assert_eq!(steps.cancel(undo).await.unwrap().into_inner().released, 0);
    let status = steps
        .reserve(called(&call, reserve(user, task, 4)))
        .await
        .unwrap_err();
    assert_eq!(classify(&status, quota::DOMAIN), Verdict::Superseded);
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
}

#[tokio::test]
async fn a_confirm_step_consumes_once() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = TaskId::new();
    f.quota.reserve(user, task, 4).await.unwrap();
    let mut call = action("CONFIRM_QUOTA");
    call.refusable = false;
    for _ in 0..2 {
        let answer = f
            .quota
            .steps
            .clone()
            .confirm(called(&call, confirm(task)))
            .await
            .unwrap();
        assert_eq!(answer.into_inner().consumed, 4);
    }
    assert_eq!(f.quota.balance(user).await, [10, 6, 0, 4]);
}

#[tokio::test]
async fn a_confirm_step_that_may_not_be_refused_is_not_refused_for_good() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, mut call) = (TaskId::new(), action("CONFIRM_QUOTA"));
    call.refusable = false;
    let mut steps = f.quota.steps.clone();
    let status = steps.confirm(called(&call, confirm(task))).await.unwrap_err();
    assert!(!step::is_stored(status.metadata()));
    assert_eq!(reason(Err::<(), _>(status)), "RESERVATION_NOT_FOUND");

    f.quota.reserve(user, task, 4).await.unwrap();
    let answer = steps.confirm(called(&call, confirm(task))).await.unwrap();
    assert_eq!(answer.into_inner().consumed, 4);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_a_mismatch() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let (task, call) = (TaskId::new(), action("RESERVE_QUOTA"));
    let mut steps = f.quota.steps.clone();
    steps
        .reserve(called(&call, reserve(user, task, 4)))
        .await
        .unwrap();
    let other = steps.reserve(called(&call, reserve(user, task, 5))).await;
    assert_eq!(reason(other), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn a_malformed_step_is_refused_for_good_and_a_call_without_metadata_is_not_a_step() {
    let f = Fixture::new().await;
    let mut steps = f.quota.steps.clone();
    let request = pb::ReserveRequest {
        user_id: "somebody".to_owned(),
        ..Default::default()
    };
    let status = steps
        .reserve(called(&action("RESERVE_QUOTA"), request.clone()))
        .await
        .unwrap_err();
    assert_eq!(
        classify(&status, quota::DOMAIN),
        Verdict::Refused { stored: true }
    );
    assert_eq!(reason(Err::<(), _>(status)), "INVALID_ID");
    assert_eq!(reason(steps.reserve(request).await), "STEP_METADATA_INVALID");
    assert_eq!(
        reason(steps.cancel(cancel(TaskId::new())).await),
        "STEP_METADATA_INVALID"
    );
    assert_eq!(
        reason(steps.confirm(confirm(TaskId::new())).await),
        "STEP_METADATA_INVALID"
    );
}
