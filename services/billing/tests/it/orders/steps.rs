//! The steps of a purchase, called as the orchestrator calls them: twice, late, at once, or never.

use ids::{OrderId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::quota::v1::GrantKind;

use super::support::{PRICE, QUOTA, action, compensation, membership, top_up};
use crate::fake_sagas::called;
use crate::world::{World, config, reason};

fn create(saga_id: SagaId, plan: &pb::Plan) -> pb::CreateOrderRequest {
    pb::CreateOrderRequest {
        order_id: OrderId::new().to_string(),
        user_id: UserId::new().to_string(),
        plan_id: plan.plan_id.clone(),
        plan_version: plan.version,
        amount: PRICE,
        pay_within: None,
        saga_id: saga_id.to_string(),
    }
}

#[tokio::test]
async fn an_order_is_made_once_at_the_version_that_was_validated() {
    let world = World::quiet(config()).await;
    let plan = world.publish(membership("pro")).await.unwrap();
    let saga_id = SagaId::new();
    let validate = pb::ValidatePlanRequest {
        plan_id: "pro".to_owned(),
        amount: PRICE,
    };
    let call = action(saga_id, "VALIDATE_PLAN");
    let valid = world
        .steps
        .clone()
        .validate_plan(called(&call, validate))
        .await
        .unwrap();
    assert_eq!(valid.into_inner().version, 1);
    let dearer = pb::PublishPlanRequest {
        amount: PRICE * 2,
        ..membership("pro")
    };
    world.publish(dearer).await.unwrap();

    let request = create(saga_id, &plan);
    let call = action(saga_id, "CREATE_ORDER");
    let calls = (0..6).map(|_| {
        let (mut steps, request) = (world.steps.clone(), called(&call, request.clone()));
        async move { steps.create_order(request).await.unwrap().into_inner() }
    });
    let made = futures::future::join_all(calls).await;
    assert!(made.windows(2).all(|two| two[0] == two[1]));
    assert!(made[0].grants_quota && made[0].quota == QUOTA);
    assert_eq!(made[0].quota_kind(), GrantKind::Membership);
    assert_eq!(world.count("select count(*) from orders").await, 1);
    assert_eq!(world.count("select count(*) from order_lines").await, 2);
    assert_eq!(world.get_order(&request.order_id).await.final_amount, PRICE);

    // The order's id stands for one saga.
    let other = SagaId::new();
    let request = pb::CreateOrderRequest {
        saga_id: other.to_string(),
        ..request
    };
    let call = action(other, "CREATE_ORDER");
    let answer = world.steps.clone().create_order(called(&call, request)).await;
    assert_eq!(reason(answer), "ORDER_MISMATCH");
}

#[tokio::test]
async fn an_order_that_comes_after_its_own_compensation_is_not_made() {
    let world = World::quiet(config()).await;
    let plan = world.publish(membership("pro")).await.unwrap();
    let saga_id = SagaId::new();
    let request = create(saga_id, &plan);
    let undo = compensation(saga_id, "CREATE_ORDER");
    assert!(world.cancel_record(&undo, &request.order_id).await.unwrap());
    let call = action(saga_id, "CREATE_ORDER");
    let answer = world.steps.clone().create_order(called(&call, request)).await;
    assert_eq!(reason(answer), "SUPERSEDED");
    assert_eq!(world.count("select count(*) from orders").await, 0);
}

#[tokio::test]
async fn an_order_that_cannot_be_right_is_refused() {
    type Change = fn(&mut pb::CreateOrderRequest);
    let world = World::quiet(config()).await;
    let plan = world.publish(membership("pro")).await.unwrap();
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let cases: [(&str, Change); 6] = [
        ("INVALID_ID", |r| r.order_id = r.user_id.clone()),
        ("INVALID_ID", |r| r.user_id = "somebody".to_owned()),
        ("INVALID_ID", |r| r.saga_id = String::new()),
        ("PLAN_NOT_AVAILABLE", |r| r.plan_version = 7),
        ("PLAN_NOT_AVAILABLE", |r| r.plan_version = u32::MAX),
        ("PRICE_MISMATCH", |r| r.amount -= 1),
    ];
    for (expected, change) in cases {
        let saga_id = SagaId::new();
        let mut request = create(saga_id, &plan);
        change(&mut request);
        let call = action(saga_id, "CREATE_ORDER");
        let answer = world.steps.clone().create_order(called(&call, request)).await;
        assert_eq!(reason(answer), expected);
    }
    for wrong in [seconds(59), seconds(-1), seconds(86_401), seconds(0)] {
        let saga_id = SagaId::new();
        let request = pb::CreateOrderRequest {
            pay_within: wrong,
            ..create(saga_id, &plan)
        };
        let call = action(saga_id, "CREATE_ORDER");
        let answer = world.steps.clone().create_order(called(&call, request)).await;
        assert_eq!(reason(answer), "INVALID_ARGUMENT");
    }
    assert_eq!(world.count("select count(*) from orders").await, 0);
}

#[tokio::test]
async fn a_payment_that_is_waited_for_says_until_when_the_quota_lasts() {
    let world = World::quiet(config()).await;
    for (plan, lasts) in [(membership("pro"), Some(30)), (top_up("more"), None)] {
        let (order, saga_id) = world.held(UserId::new(), plan).await;
        let payment = world.pay(&order).await;
        let call = action(saga_id, "PROCESS_PAYMENT");
        let found = world
            .await_payment(&call, &order.order_id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.payment_id, payment.to_string());
        let paid_at = found.paid_at.as_ref().unwrap().seconds;
        let until = found.quota_expires_at.as_ref().map(|at| at.seconds);
        assert_eq!(until, lasts.map(|days| paid_at + days * 24 * 60 * 60));
        assert_eq!(
            world.await_payment(&call, &order.order_id).await.unwrap(),
            Some(found)
        );
    }
}

#[tokio::test]
async fn steps_of_orders_that_are_not_there_are_refused() {
    let world = World::quiet(config()).await;
    let order_id = OrderId::new().to_string();
    let call = action(SagaId::new(), "PROCESS_PAYMENT");
    assert_eq!(
        reason(world.await_payment(&call, &order_id).await),
        "ORDER_NOT_FOUND"
    );
    let call = action(SagaId::new(), "PROCESS_PAYMENT");
    assert_eq!(reason(world.await_payment(&call, "order_1").await), "INVALID_ID");
}
