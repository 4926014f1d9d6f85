//! From the wish to the completed order.

use ids::UserId;
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use super::support::{PRICE, QUOTA, membership, orders, plans, top_up, until};
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn a_plan_that_is_paid_is_granted_once_and_told() {
    let mut world = World::quiet(config()).await;
    world.run_jobs().await;
    let user = UserId::new();
    let order = world.order(user).await;
    assert_eq!(order.status(), pb::OrderStatus::Pending);
    assert!(order.order_number.starts_with("ORD") && order.order_number.len() == 29);
    assert_eq!(
        (order.amount, order.final_amount, order.plan_version),
        (PRICE, PRICE, 1)
    );
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|l| (l.line, l.kind(), l.quantity))
        .collect();
    let quota = (0, pb::OrderLineKind::Quota, QUOTA);
    assert_eq!(lines, [quota, (1, pb::OrderLineKind::Membership, 31)]);
    assert_eq!(
        world.sagas.granted(&order.order_id),
        0,
        "nothing before the money is there"
    );

    world.pay(&order).await;
    let completed = world.until(&order.order_id, pb::OrderStatus::Completed).await;
    assert!(completed.completed_at.is_some());
    until(async || {
        let saga = world.sagas.saga("PAYMENT_PURCHASE", &order.order_id).unwrap();
        (saga.phase() == SagaPhase::Completed).then_some(())
    })
    .await;
    assert_eq!(world.sagas.granted(&order.order_id), QUOTA);

    let facts = world.facts("order.completed").await;
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0]["orderId"], order.order_id.as_str());
    assert_eq!(facts[0]["userId"], user.to_string());
    assert_eq!(facts[0]["amount"], PRICE);
    assert!(facts[0]["deviceId"].is_null() && facts[0]["timestamp"].is_string());
    let told = world.facts("notification.send").await;
    assert_eq!(told.len(), 1);
    for field in ["userId", "type", "title", "message", "priority"] {
        assert!(
            told[0][field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    let request = as_user(user, pb::ListMembershipsRequest::default());
    let found = plans(&world)
        .list_memberships(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.memberships.len(), 1);
    assert!(found.memberships[0].active);
}

#[tokio::test]
async fn a_plan_that_is_not_for_sale_at_this_price_makes_no_order() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    assert_eq!(reason(world.buy(user, "pro", "r1").await), "PLAN_NOT_AVAILABLE");
    let dearer = pb::PublishPlanRequest {
        amount: PRICE + 1,
        ..membership("pro")
    };
    world.publish(dearer).await.unwrap();
    let status = world.buy(user, "pro", "r2").await.unwrap_err();
    assert_eq!(rpc::error::info(&status).unwrap().reason, "PRICE_MISMATCH");
    // The same request has the same answer, whatever is offered by now.
    world.publish(membership("pro")).await.unwrap();
    assert_eq!(reason(world.buy(user, "pro", "r2").await), "PRICE_MISMATCH");
    world.execute("update plans set on_sale = false").await;
    assert_eq!(reason(world.buy(user, "pro", "r3").await), "PLAN_NOT_AVAILABLE");
    assert_eq!(world.count("select count(*) from orders").await, 0);
}

#[tokio::test]
async fn a_repeated_wish_is_the_same_order() {
    let world = World::quiet(config()).await;
    world.publish(membership("pro")).await.unwrap();
    world.publish(top_up("more")).await.unwrap();
    let user = UserId::new();
    let first = world.buy(user, "pro", "once").await.unwrap();
    assert_eq!(world.buy(user, "pro", "once").await.unwrap(), first);
    assert_eq!(reason(world.buy(user, "more", "once").await), "ORDER_MISMATCH");
    let others = world.buy(UserId::new(), "pro", "once").await.unwrap();
    assert_ne!(others.saga_id, first.saga_id);

    // The orchestrator is not needed for what is there.
    world.sagas.set_down(true);
    assert_eq!(world.buy(user, "pro", "once").await.unwrap(), first);
    assert_eq!(reason(world.buy(user, "pro", "new").await), "UNAVAILABLE");
    world.sagas.set_down(false);
    assert!(world.buy(user, "pro", "new").await.is_ok());
    assert_eq!(world.count("select count(*) from orders").await, 3);
}

#[tokio::test]
async fn wishes_at_once_make_one_order() {
    let world = World::quiet(config()).await;
    world.publish(membership("pro")).await.unwrap();
    let user = UserId::new();
    let all = futures::future::join_all((0..20).map(|_| world.buy(user, "pro", "once"))).await;
    let sagas: std::collections::BTreeSet<String> =
        all.into_iter().map(|bought| bought.unwrap().saga_id).collect();
    assert_eq!(sagas.len(), 1);
    assert_eq!(world.count("select count(*) from orders").await, 1);
}

#[tokio::test]
async fn a_purchase_that_takes_longer_than_the_wait_names_its_saga() {
    let world = World::quiet(billing::Config {
        wait: std::time::Duration::from_secs(1),
        ..config()
    })
    .await;
    world.publish(membership("pro")).await.unwrap();
    world.sagas.stall("PAYMENT_PURCHASE");
    let user = UserId::new();
    let first = world.buy(user, "pro", "slow").await.unwrap();
    assert!(first.order.is_none() && !first.saga_id.is_empty());
    // A retry comes at another time; it is the same request all the same.
    assert_eq!(world.buy(user, "pro", "slow").await.unwrap(), first);
    assert_eq!(reason(world.buy(user, "more", "slow").await), "ORDER_MISMATCH");
    assert_eq!(world.sagas.started("PAYMENT_PURCHASE").len(), 1);
}

#[tokio::test]
async fn the_price_of_an_order_is_that_of_its_version() {
    let world = World::quiet(config()).await;
    let order = world.order(UserId::new()).await;
    let dearer = pb::PublishPlanRequest {
        amount: PRICE * 2,
        quota: 1,
        ..membership("pro")
    };
    world.publish(dearer).await.unwrap();
    let found = world.get_order(&order.order_id).await;
    assert_eq!(found, order);
}

#[tokio::test]
async fn an_order_whose_plan_needs_a_device_keeps_which_one() {
    let world = World::new().await;
    let plan = pb::PublishPlanRequest {
        needs_device: true,
        ..membership("box")
    };
    world.publish(plan).await.unwrap();
    let order = world.buy(UserId::new(), "box", "r").await.unwrap().order.unwrap();
    until(async || (!world.get_order(&order.order_id).await.device_id.is_empty()).then_some(())).await;
    world.pay(&order).await;
    let completed = world.until(&order.order_id, pb::OrderStatus::Completed).await;
    assert_eq!(completed.device_id, "device-1");
    assert_eq!(world.facts("order.completed").await[0]["deviceId"], "device-1");
}

#[tokio::test]
async fn a_list_has_its_own_orders_newest_first_page_by_page() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    world.order(UserId::new()).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, world.order(user).await.order_id);
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListOrdersRequest {
            page_size: 2,
            page_token,
            ..pb::ListOrdersRequest::default()
        };
        let page = orders(&world)
            .list_orders(as_user(user, request))
            .await
            .unwrap()
            .into_inner();
        found.extend(page.orders.into_iter().map(|order| order.order_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, made);

    world.cancel(user, &made[1], "").await.unwrap();
    let by_status = pb::ListOrdersRequest {
        statuses: vec![pb::OrderStatus::Cancelled.into()],
        ..pb::ListOrdersRequest::default()
    };
    let page = orders(&world)
        .list_orders(as_user(user, by_status))
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<String> = page.orders.into_iter().map(|order| order.order_id).collect();
    assert_eq!(ids, [made[1].clone()]);
}
