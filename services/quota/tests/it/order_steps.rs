//! The steps of orders and refunds: called twice, late, or never.

use ids::UserId;
use proto::quota::v1 as pb;
use rpc::outcome::{Verdict, classify};
use rpc::step;

use crate::support::{Fixture, action, called, compensation_of, in_seconds, reason};

fn grant(user: UserId, line: u32, amount: i64) -> pb::GrantForOrderRequest {
    pb::GrantForOrderRequest {
        user_id: user.to_string(),
        order_id: "ORD1".to_owned(),
        line,
        amount,
        ..pb::GrantForOrderRequest::default()
    }
}

fn claw_back(user: UserId, id: &str) -> pb::ClawBackOrderRequest {
    pb::ClawBackOrderRequest {
        user_id: user.to_string(),
        order_id: "ORD1".to_owned(),
        clawback_id: id.to_owned(),
        amount: 0,
    }
}

fn restore(id: &str) -> pb::RestoreOrderRequest {
    pb::RestoreOrderRequest {
        clawback_id: id.to_owned(),
    }
}

#[tokio::test]
async fn a_repeated_grant_step_grants_once() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    let call = action("GRANT_QUOTA");
    for _ in 0..3 {
        let answer = steps
            .grant_for_order(called(&call, grant(user, 1, 10)))
            .await
            .unwrap();
        assert!(step::is_stored(answer.metadata()));
        let expected = pb::GrantForOrderResponse {
            grant_id: "order:ORD1:1".to_owned(),
            amount: 10,
            available: 10,
        };
        assert_eq!(answer.into_inner(), expected);
    }
    // Another saga that comes for the same line finds it granted.
    let other = action("GRANT_QUOTA");
    steps
        .grant_for_order(called(&other, grant(user, 1, 10)))
        .await
        .unwrap();
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    steps
        .grant_for_order(called(&action("GRANT_QUOTA"), grant(user, 2, 5)))
        .await
        .unwrap();
    assert_eq!(f.quota.balance(user).await, [15, 15, 0, 0]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_compensated_grant_is_taken_back_once_and_never_granted_again() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    let call = action("GRANT_QUOTA");
    steps
        .grant_for_order(called(&call, grant(user, 0, 10)))
        .await
        .unwrap();
    for _ in 0..3 {
        let undo = called(&compensation_of(&call), claw_back(user, "saga-1"));
        let answer = steps.claw_back_order(undo).await.unwrap().into_inner();
        assert_eq!(answer.clawed_back.unwrap().clawed_back, 10);
    }
    // Its answer is what it was, and has no effect any more.
    let late = steps
        .grant_for_order(called(&call, grant(user, 0, 10)))
        .await
        .unwrap();
    assert_eq!(late.into_inner().available, 10);
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 0, 0, 0, 10]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_grant_step_that_comes_after_its_compensation_is_superseded() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    let call = action("GRANT_QUOTA");
    let undo = called(&compensation_of(&call), claw_back(user, "saga-1"));
    assert_eq!(
        steps.claw_back_order(undo).await.unwrap().into_inner(),
        pb::ClawBackOrderResponse::default()
    );
    let late = steps
        .grant_for_order(called(&call, grant(user, 0, 10)))
        .await
        .unwrap_err();
    assert_eq!(classify(&late, quota::DOMAIN), Verdict::Superseded);
    let accounts: i64 = sqlx::query_scalar("select count(*) from account")
        .fetch_one(&f.quota.pool)
        .await
        .unwrap();
    assert_eq!(accounts, 0, "nothing happened");
}

#[tokio::test]
async fn a_refused_grant_step_stays_refused() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    steps
        .claw_back_order(called(&action("CLAW_BACK_QUOTA"), claw_back(user, "refund-1")))
        .await
        .unwrap();
    let call = action("GRANT_QUOTA");
    for _ in 0..2 {
        let status = steps
            .grant_for_order(called(&call, grant(user, 0, 10)))
            .await
            .unwrap_err();
        assert_eq!(
            classify(&status, quota::DOMAIN),
            Verdict::Refused { stored: true }
        );
        assert_eq!(reason(Err::<(), _>(status)), "SOURCE_CLAWED_BACK");
        // Though it would be granted now.
        steps
            .restore_order(called(&action("RESTORE"), restore("refund-1")))
            .await
            .unwrap();
    }
    let malformed = steps
        .grant_for_order(called(&action("GRANT_QUOTA"), grant(user, 1_000, 10)))
        .await
        .unwrap_err();
    assert_eq!(
        classify(&malformed, quota::DOMAIN),
        Verdict::Refused { stored: true }
    );
    let other = steps.grant_for_order(called(&call, grant(user, 0, 11))).await;
    assert_eq!(reason(other), "BARRIER_MISMATCH");
    assert_eq!(f.quota.balance(user).await, [0; 4]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_compensated_clawback_is_as_if_it_had_never_been() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    steps
        .grant_for_order(called(&action("GRANT_QUOTA"), grant(user, 0, 10)))
        .await
        .unwrap();
    let task = ids::TaskId::new();
    f.quota.reserve(user, task, 4).await.unwrap();

    let call = action("CLAW_BACK_QUOTA");
    for _ in 0..2 {
        let answer = steps
            .claw_back_order(called(&call, claw_back(user, "refund-1")))
            .await
            .unwrap();
        let done = answer.into_inner().clawed_back.unwrap();
        assert_eq!((done.clawed_back, done.pending), (6, 4));
    }
    for _ in 0..3 {
        let undo = called(&compensation_of(&call), restore("refund-1"));
        assert_eq!(steps.restore_order(undo).await.unwrap().into_inner().restored, 6);
    }
    assert_eq!(f.quota.balance(user).await, [10, 6, 4, 0]);
    // What it waited for is the user's again, too.
    f.quota.cancel(task).await.unwrap();
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    assert_eq!(
        reason(f.quota.claw_back(user, "ORD1", "refund-1", 0).await),
        "CLAWBACK_UNDONE"
    );
    let late = steps
        .claw_back_order(called(&call, claw_back(user, "refund-1")))
        .await
        .unwrap();
    assert_eq!(
        late.into_inner().clawed_back.unwrap().clawed_back,
        6,
        "the stored reply"
    );
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    let again = f.quota.claw_back(user, "ORD1", "refund-2", 0).await.unwrap();
    assert_eq!(again.clawed_back, 10);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn what_is_restored_to_a_grant_that_is_over_is_lost_and_what_another_waits_for_is_its() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    let monthly = pb::GrantForOrderRequest {
        kind: pb::GrantKind::Membership.into(),
        expires_at: in_seconds(3_600),
        ..grant(user, 0, 10)
    };
    steps
        .grant_for_order(called(&action("GRANT_QUOTA"), monthly))
        .await
        .unwrap();
    let task = ids::TaskId::new();
    f.quota.reserve(user, task, 4).await.unwrap();
    let call = action("CLAW_BACK_QUOTA");
    let first = pb::ClawBackOrderRequest {
        amount: 6,
        ..claw_back(user, "refund-1")
    };
    steps.claw_back_order(called(&call, first)).await.unwrap();
    // This one finds nothing free, and waits for the reservation.
    let second = f.quota.claw_back(user, "ORD1", "refund-2", 3).await.unwrap();
    assert_eq!((second.clawed_back, second.pending), (0, 3));
    f.quota.end_grant("order:ORD1:0").await;

    let undo = called(&compensation_of(&call), restore("refund-1"));
    assert_eq!(steps.restore_order(undo).await.unwrap().into_inner().restored, 6);
    // Of the 6 that came back, 3 were owed; the rest was too late.
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 4, 0, 3, 3]);
    f.quota.cancel(task).await.unwrap();
    assert_eq!(f.quota.whole_balance(user).await, [10, 0, 0, 0, 7, 3]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn a_step_confirms_a_part_and_releases_the_rest() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    let task = ids::TaskId::new();
    f.quota.reserve(user, task, 7).await.unwrap();
    let mut steps = f.quota.steps.clone();
    let mut call = action("CONFIRM_QUOTA");
    call.refusable = false;
    let request = pb::ConfirmRequest {
        task_id: task.to_string(),
        amount: 2,
    };
    for _ in 0..2 {
        let answer = steps.confirm(called(&call, request.clone())).await.unwrap();
        assert_eq!(answer.into_inner().consumed, 2);
    }
    assert_eq!(f.quota.balance(user).await, [10, 8, 0, 2]);
    f.quota.assert_no_drift().await;
}

#[tokio::test]
async fn calls_without_metadata_are_no_steps() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let mut steps = f.quota.steps.clone();
    for refused in [
        steps.grant_for_order(grant(user, 0, 1)).await.map(drop),
        steps.claw_back_order(claw_back(user, "r")).await.map(drop),
        steps.restore_order(restore("r")).await.map(drop),
    ] {
        assert_eq!(reason(refused), "STEP_METADATA_INVALID");
    }
}
