//! What callers may not send.

use ids::{OrderId, UserId};
use proto::billing::v1 as pb;

use super::support::{PRICE, orders};
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn a_purchase_that_cannot_be_right_starts_nothing() {
    type Change = fn(&mut pb::PurchasePlanRequest);
    let world = World::quiet(config()).await;
    let cases: [(&str, Change); 8] = [
        ("INVALID_ARGUMENT", |r| r.amount = 0),
        ("INVALID_ARGUMENT", |r| r.amount = i64::MIN),
        ("INVALID_ARGUMENT", |r| r.amount = i64::MAX),
        ("INVALID_ARGUMENT", |r| r.plan_id = String::new()),
        ("INVALID_ARGUMENT", |r| {
            r.plan_id = "pro'; drop table orders".to_owned()
        }),
        ("INVALID_ARGUMENT", |r| r.request_id = "x".repeat(129)),
        ("INVALID_ID", |r| r.user_id = "user_1".to_owned()),
        ("PERMISSION_DENIED", |r| r.user_id = UserId::new().to_string()),
    ];
    for (expected, change) in cases {
        let mut request = pb::PurchasePlanRequest {
            plan_id: "pro".to_owned(),
            amount: PRICE,
            ..pb::PurchasePlanRequest::default()
        };
        change(&mut request);
        let answer = orders(&world)
            .purchase_plan(as_user(UserId::new(), request))
            .await;
        assert_eq!(reason(answer), expected);
    }
    assert!(world.sagas.started("PAYMENT_PURCHASE").is_empty());
}

#[tokio::test]
async fn an_order_is_asked_for_by_its_id() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    for (order_id, expected) in [
        (String::new(), "INVALID_ID"),
        (user.to_string(), "INVALID_ID"),
        (OrderId::new().to_string(), "ORDER_NOT_FOUND"),
    ] {
        let request = pb::GetOrderRequest {
            order_id: order_id.clone(),
        };
        assert_eq!(
            reason(orders(&world).get_order(as_user(user, request)).await),
            expected
        );
        assert_eq!(reason(world.cancel(user, &order_id, "").await), expected);
    }
    let order = world.order(user).await;
    for wrong in ["x".repeat(201), "a\nb".to_owned()] {
        assert_eq!(
            reason(world.cancel(user, &order.order_id, &wrong).await),
            "INVALID_ARGUMENT"
        );
    }
    let request = pb::ListOrdersRequest {
        statuses: vec![99],
        ..pb::ListOrdersRequest::default()
    };
    assert_eq!(
        reason(orders(&world).list_orders(as_user(user, request)).await),
        "INVALID_ARGUMENT"
    );
    let request = pb::ListOrdersRequest {
        page_token: "0".repeat(40),
        ..pb::ListOrdersRequest::default()
    };
    assert_eq!(
        reason(orders(&world).list_orders(as_user(user, request)).await),
        "INVALID_PAGE_TOKEN"
    );
}

#[tokio::test]
async fn the_key_of_an_http_request_stands_for_the_request_id() {
    let world = World::quiet(config()).await;
    world.publish(super::support::membership("pro")).await.unwrap();
    let user = UserId::new();
    let request = || {
        let mut request = as_user(
            user,
            pb::PurchasePlanRequest {
                plan_id: "pro".to_owned(),
                amount: PRICE,
                ..pb::PurchasePlanRequest::default()
            },
        );
        let key = "key-1".parse().unwrap();
        request.metadata_mut().insert("idempotency-key", key);
        request
    };
    let first = orders(&world)
        .purchase_plan(request())
        .await
        .unwrap()
        .into_inner();
    let again = orders(&world)
        .purchase_plan(request())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again);
    assert_eq!(world.buy(user, "pro", "key-1").await.unwrap(), first);
}
