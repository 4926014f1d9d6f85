//! Buying, paying and refunding, with the real orchestrator and providers that really sign.

use e2e::{LONG, Mode, PLAN, PRICE, Platform, QUOTA, reason};
use ids::UserId;
use proto::billing::v1::{
    Channel, CreateRefundRequest, GetRefundRequest, ListMembershipsRequest, Order, OrderStatus,
    PaymentStatus, PurchasePlanRequest, RefundStatus,
};
use test_support::eventually;

/// An order that was just made.
async fn ordered(platform: &Platform, user: UserId) -> Order {
    let bought = platform.purchase(user, "").await.expect("a purchase");
    bought.order.expect("an order")
}

async fn until(platform: &Platform, order: &Order, status: OrderStatus) -> Order {
    eventually(LONG, || async {
        let order = platform.order(&order.order_id).await;
        (order.status() == status).then_some(order)
    })
    .await
}

async fn quota_of(platform: &Platform, user: UserId) -> i64 {
    platform.balance(user).await.available
}

async fn is_member(platform: &Platform, user: UserId) -> bool {
    let request = ListMembershipsRequest {
        user_id: user.to_string(),
    };
    let answer = platform.plans().list_memberships(request).await;
    let memberships = answer.expect("memberships").into_inner().memberships;
    memberships.iter().any(|membership| membership.active)
}

#[tokio::test]
async fn who_pays_by_scanning_gets_membership_and_quota_once_and_a_refund_takes_both_back() {
    let mut platform = Platform::start(Mode::Serve).await;
    let billing = platform.open_billing().await;
    for channel in [Channel::Wechat, Channel::Alipay] {
        let user = UserId::new();
        let order = ordered(&platform, user).await;
        assert_eq!(order.status(), OrderStatus::Pending);
        let payment = platform.create_payment(&order, channel).await.expect("a payment");
        assert!(!payment.payment_url.is_empty(), "{payment:?}");
        billing.pay(&payment);
        until(&platform, &order, OrderStatus::Completed).await;
        assert_eq!(quota_of(&platform, user).await, QUOTA);
        assert!(is_member(&platform, user).await);

        let request = CreateRefundRequest {
            payment_id: payment.payment_id.clone(),
            reason: "not what I wanted".to_owned(),
            ..CreateRefundRequest::default()
        };
        let refunded = platform.payments().create_refund(request).await;
        let refund = refunded.expect("a refund").into_inner().refund.expect("a refund");
        let order = until(&platform, &order, OrderStatus::Refunded).await;
        assert_eq!(order.refunded_amount, PRICE);
        let request = GetRefundRequest {
            refund_id: refund.refund_id,
        };
        let refund = platform.payments().get_refund(request).await.expect("a refund");
        assert_eq!(
            refund.into_inner().refund.expect("a refund").status(),
            RefundStatus::Succeeded
        );
        assert_eq!(
            platform.payment(&payment.payment_id).await.status(),
            PaymentStatus::Refunded
        );
        eventually(LONG, || async { quota_of(&platform, user).await == 0 }).await;
        assert!(!is_member(&platform, user).await);
    }
}

#[tokio::test]
async fn a_wrong_price_or_plan_makes_no_order() {
    let mut platform = Platform::start(Mode::Serve).await;
    let _billing = platform.open_billing().await;
    let user = UserId::new();
    for (plan, amount, expected) in [
        (PLAN, PRICE - 1, "PRICE_MISMATCH"),
        ("no-such-plan", PRICE, "PLAN_NOT_AVAILABLE"),
    ] {
        let request = PurchasePlanRequest {
            plan_id: plan.to_owned(),
            amount,
            user_id: user.to_string(),
            request_id: String::new(),
        };
        let refused = platform.orders().purchase_plan(request).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{refused}");
    }
    let orders: i64 = sqlx::query_scalar("select count(*) from billing.orders")
        .fetch_one(platform.sql())
        .await
        .expect("the database answers");
    assert_eq!(orders, 0);
}

#[tokio::test]
async fn billing_killed_between_the_payment_and_the_grant_still_grants_once() {
    let mut platform = Platform::start(Mode::Serve).await;
    let billing = platform.open_billing().await;
    let user = UserId::new();
    let order = ordered(&platform, user).await;
    let payment = platform
        .create_payment(&order, Channel::Wechat)
        .await
        .expect("a payment");
    if let Some(process) = platform.billing.take() {
        process.signal(test_support::Signal::Kill);
    }
    billing.pay(&payment);
    platform.start_billing();
    eventually(LONG, || async {
        let request = proto::billing::v1::GetOrderRequest {
            order_id: order.order_id.clone(),
        };
        let found = platform.orders().get_order(request).await;
        found.is_ok_and(|found| {
            let order = found.into_inner().order.expect("an order");
            order.status() == OrderStatus::Completed
        })
    })
    .await;
    assert_eq!(quota_of(&platform, user).await, QUOTA);
}
