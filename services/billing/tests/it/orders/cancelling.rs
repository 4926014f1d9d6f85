//! Orders that their buyers do not want any more.

use ids::UserId;
use proto::billing::v1 as pb;

use super::support::orders;
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn an_order_without_a_payment_is_cancelled_at_once() {
    let world = World::new().await;
    let user = UserId::new();
    let order = world.order(user).await;
    let cancelled = world.cancel(user, &order.order_id, "too dear").await.unwrap();
    assert_eq!(cancelled.status(), pb::OrderStatus::Cancelled);
    assert_eq!(cancelled.cancel_reason, "too dear");
    assert!(cancelled.cancelled_at.is_some() && !cancelled.cancelling);
    // Again, with another reason: nothing happens.
    assert_eq!(
        world.cancel(user, &order.order_id, "no").await.unwrap(),
        cancelled
    );
    let facts = world.facts("order.cancelled").await;
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0]["orderId"], order.order_id.as_str());
    assert_eq!(facts[0]["reason"], "too dear");
    // The saga learns it, and goes back without anything to undo.
    let ended = super::support::until(async || {
        let saga = world.sagas.saga("PAYMENT_PURCHASE", &order.order_id).unwrap();
        (saga.phase() == proto::saga::v1::SagaPhase::Compensated).then_some(saga)
    })
    .await;
    assert_eq!(ended.error.unwrap().reason, "ORDER_CANCELLED");
}

#[tokio::test]
async fn open_payments_are_closed_first() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let order = world.order(user).await;
    let payments = [
        world.payment(&order, "wechat").await,
        world.payment(&order, "alipay").await,
    ];
    let waiting = world.cancel(user, &order.order_id, "").await.unwrap();
    assert_eq!(
        (waiting.status(), waiting.cancelling),
        (pb::OrderStatus::Pending, true)
    );
    let closing = "select count(*) from payments where closing = 'ORDER' and status = 'PENDING'";
    assert_eq!(world.count(closing).await, 2);
    let checks =
        "select count(*) from provider_checks where subject = 'payment' and next_at <= clock_timestamp()";
    assert_eq!(world.count(checks).await, 2);
    assert_eq!(world.facts("order.cancelled").await.len(), 0);
    let again = world.cancel(user, &order.order_id, "second").await.unwrap();
    assert_eq!(again, waiting);

    world.close(payments[0]).await;
    assert_eq!(
        world.get_order(&order.order_id).await.status(),
        pb::OrderStatus::Pending
    );
    world.close(payments[1]).await;
    let mut world = world;
    world.run_jobs().await;
    let cancelled = world.until(&order.order_id, pb::OrderStatus::Cancelled).await;
    assert_eq!(cancelled.cancel_reason, "USER");
    assert_eq!(world.facts("order.cancelled").await.len(), 1);
}

#[tokio::test]
async fn a_payment_that_was_faster_is_taken() {
    let world = World::new().await;
    world.sagas.stall("PAYMENT");
    let user = UserId::new();
    let order = world.order(user).await;
    let payment = world.payment(&order, "wechat").await;
    // The check would ask the provider: it has nothing to tell of a payment that is a row only.
    world.cancel(user, &order.order_id, "").await.unwrap();
    world.settle(payment).await;
    world.until(&order.order_id, pb::OrderStatus::Completed).await;
    let answer = world.cancel(user, &order.order_id, "").await;
    assert_eq!(reason(answer), "ORDER_NOT_CANCELLABLE");
    assert_eq!(world.facts("order.cancelled").await.len(), 0);
}

#[tokio::test]
async fn an_order_of_somebody_else_is_not_there() {
    let world = World::quiet(config()).await;
    let order = world.order(UserId::new()).await;
    let stranger = UserId::new();
    assert_eq!(
        reason(world.cancel(stranger, &order.order_id, "").await),
        "ORDER_NOT_FOUND"
    );
    let request = pb::GetOrderRequest {
        order_id: order.order_id.clone(),
    };
    let answer = orders(&world).get_order(as_user(stranger, request)).await;
    assert_eq!(reason(answer), "ORDER_NOT_FOUND");
    let request = pb::ListOrdersRequest {
        user_id: order.user_id.clone(),
        ..pb::ListOrdersRequest::default()
    };
    let answer = orders(&world).list_orders(as_user(stranger, request)).await;
    assert_eq!(reason(answer), "PERMISSION_DENIED");
    assert_eq!(
        world.get_order(&order.order_id).await.status(),
        pb::OrderStatus::Pending
    );
}

#[tokio::test]
async fn cancelling_and_paying_at_once_end_in_one_of_the_two() {
    let world = World::quiet(config()).await;
    for _ in 0..10 {
        let user = UserId::new();
        let (order, _) = world.held(user, super::support::membership("pro")).await;
        let payment = world.payment(&order, "wechat").await;
        let (cancelled, ()) = tokio::join!(world.cancel(user, &order.order_id, ""), world.settle(payment));
        let found = world.get_order(&order.order_id).await;
        assert_eq!(found.status(), pb::OrderStatus::Paid);
        assert!(!found.cancelling, "{cancelled:?}");
    }
}
