//! Paying: what is shown, what is told, and what is refused.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, OrderState, Rule};
use ids::{OrderId, UserId};
use proto::billing::v1 as pb;
use rpc::error::info;
use test_support::eventually;

use crate::buyer::{
    Buyer, PRICE, becomes, late_refunds, look, no_payment, payments, reaches, standing, told,
};
use crate::world::{DEADLINE, World, as_user, config, reason};

const CHANNELS: [pb::Channel; 2] = [pb::Channel::Wechat, pb::Channel::Alipay];

/// The payer pays at the channel.
pub(crate) fn pays(world: &World, channel: pb::Channel, number: &str) -> bool {
    match channel {
        pb::Channel::Alipay => world.alipay.pay(number).is_some(),
        pb::Channel::Wechat | pb::Channel::Unspecified => world.wechat.pay(number).is_some(),
    }
}

/// Gives a channel a programme.
pub(crate) fn program(world: &World, channel: pb::Channel, rules: Vec<Rule>) {
    match channel {
        pb::Channel::Alipay => world.alipay.program(rules),
        pb::Channel::Wechat | pb::Channel::Unspecified => world.wechat.program(rules),
    }
}

/// Where the order stands in the channel's own books.
pub(crate) fn at_channel(world: &World, channel: pb::Channel, number: &str) -> Option<OrderState> {
    let books = match channel {
        pb::Channel::Alipay => world.alipay.books(),
        pb::Channel::Wechat | pb::Channel::Unspecified => world.wechat.books(),
    };
    books.orders.get(number).map(|order| order.state)
}

#[tokio::test]
async fn a_payment_is_shown_paid_and_told() {
    let world = World::new().await;
    for channel in CHANNELS {
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        assert!(made.payment_url.starts_with("http"), "{made:?}");
        let payment = made.payment.unwrap();
        assert_eq!(payment.status(), pb::PaymentStatus::Pending);
        assert!(payment.payment_no.starts_with("PAY"), "{payment:?}");
        assert_eq!(payment.channel_order_no, payment.payment_no);

        assert!(pays(&world, channel, &made.channel_order_no));
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        let paid = buyer.get(&world, &made.payment_id).await.unwrap();
        assert!(paid.paid_at.is_some() && !paid.provider_no.is_empty(), "{paid:?}");
        assert_eq!(told(&world, "payment.succeeded", buyer.order_id).await, 1);
    }
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
    becomes(
        &world,
        "select count(*) from notify_inbox where state in ('APPLIED', 'UNCHANGED')",
        2_i64,
    )
    .await;
    let refused = "select count(*) from notify_receipts where outcome <> 'TAKEN'";
    assert_eq!(world.value::<i64>(refused).await, 0);
    assert!(late_refunds(&world).await.is_empty());
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_asking() {
    let world = World::new().await;
    for channel in CHANNELS {
        program(
            &world,
            channel,
            vec![Rule {
                times: None,
                ..Rule::once(Operation::NotifyPayment, Behaviour::Lose)
            }],
        );
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        assert!(pays(&world, channel, &made.channel_order_no));
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    }
    assert_eq!(
        world.value::<i64>("select count(*) from notify_receipts").await,
        0
    );
}

#[tokio::test]
async fn the_same_request_is_the_same_payment() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    world.sagas.set_down(true);
    let again = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    assert_eq!(made, again, "a retry needs no orchestrator");
    let by_id = pb::CreatePaymentRequest {
        order_no: buyer.order_id.to_string(),
        ..buyer.request(pb::Channel::Wechat, "one")
    };
    let again = payments(&world)
        .create_payment(as_user(buyer.user_id, by_id))
        .await
        .unwrap();
    assert_eq!(made.payment_id, again.into_inner().payment_id);
    let other = buyer.begin(&world, pb::Channel::Alipay, "one").await;
    assert_eq!(reason(other), "ORDER_MISMATCH");
    assert_eq!(world.value::<i64>("select count(*) from payments").await, 1);
}

#[tokio::test]
async fn an_order_has_one_open_payment_for_each_channel() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    let second = buyer.begin(&world, pb::Channel::Wechat, "two").await.unwrap_err();
    let info = info(&second).unwrap();
    assert_eq!(
        (info.reason.as_str(), info.metadata["payment_id"].as_str()),
        ("PAYMENT_IN_PROGRESS", made.payment_id.as_str())
    );
    // The other channel is another matter; once one is paid, the other is closed at its channel.
    let other = buyer.begin(&world, pb::Channel::Alipay, "three").await.unwrap();
    assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    reaches(&world, &other.payment_id, &standing("CLOSED", "PAID", false)).await;
    let request = buyer.begin(&world, pb::Channel::Wechat, "four").await;
    assert_eq!(reason(request), "ORDER_NOT_PAYABLE");
}

#[tokio::test]
async fn what_cannot_be_paid_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let good = buyer.request(pb::Channel::Wechat, "one");
    let wrong = [
        (
            "PRICE_MISMATCH",
            pb::CreatePaymentRequest {
                amount: PRICE - 1,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                amount: 0,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                amount: i64::MAX,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                channel: 0,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                channel: 9,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                order_no: String::new(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                order_no: "a\0b".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                request_id: "x".repeat(129),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRequest {
                request_id: "a\nb".to_owned(),
                ..good.clone()
            },
        ),
        (
            "ORDER_NOT_FOUND",
            pb::CreatePaymentRequest {
                order_no: "ORD1".to_owned(),
                ..good.clone()
            },
        ),
        (
            "ORDER_NOT_FOUND",
            pb::CreatePaymentRequest {
                order_no: OrderId::new().to_string(),
                ..good.clone()
            },
        ),
    ];
    for (why, request) in wrong {
        let answer = payments(&world)
            .create_payment(as_user(buyer.user_id, request.clone()))
            .await;
        assert_eq!(reason(answer), why, "{request:?}");
    }
    // Somebody else's order is not there.
    let answer = payments(&world)
        .create_payment(as_user(UserId::new(), good))
        .await;
    assert_eq!(reason(answer), "ORDER_NOT_FOUND");
    let expired = Buyer::with(&world, Duration::ZERO).await;
    let answer = expired.begin(&world, pb::Channel::Wechat, "one").await;
    assert_eq!(reason(answer), "ORDER_NOT_PAYABLE");
    assert_eq!(world.value::<i64>("select count(*) from payments").await, 0);
    assert!(world.sagas.started("PAYMENT").is_empty());
}

#[tokio::test]
async fn a_payment_is_its_owners_business() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    let other = Buyer::new(&world).await;
    let unknown = no_payment();
    for (who, payment_id) in [(other, &made.payment_id), (buyer, &unknown)] {
        assert_eq!(reason(who.get(&world, payment_id).await), "PAYMENT_NOT_FOUND");
        assert_eq!(reason(who.cancel(&world, payment_id).await), "PAYMENT_NOT_FOUND");
    }
    assert_eq!(reason(buyer.get(&world, "pay_1").await), "INVALID_ID");
    let of_other = pb::ListPaymentsRequest {
        user_id: buyer.user_id.to_string(),
        ..pb::ListPaymentsRequest::default()
    };
    let listed = payments(&world)
        .list_payments(as_user(other.user_id, of_other.clone()))
        .await;
    assert_eq!(reason(listed), "PERMISSION_DENIED");
    let mut operator =
        proto::billing::v1::payment_service_client::PaymentServiceClient::new(world.operator.clone());
    let listed = operator.list_payments(of_other).await.unwrap().into_inner();
    assert_eq!(listed.payments.len(), 1);
}

#[tokio::test]
async fn payments_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let made = buyer
            .begin(&world, pb::Channel::Wechat, &format!("r{n}"))
            .await
            .unwrap();
        buyer.cancel(&world, &made.payment_id).await.unwrap();
        reaches(&world, &made.payment_id, &standing("CLOSED", "PENDING", false)).await;
        ids.push(made.payment_id);
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListPaymentsRequest {
            page_size: 2,
            page_token: page_token.clone(),
            order_id: buyer.order_id.to_string(),
            ..pb::ListPaymentsRequest::default()
        };
        let answer = payments(&world)
            .list_payments(as_user(buyer.user_id, request))
            .await
            .unwrap()
            .into_inner();
        found.extend(answer.payments.into_iter().map(|payment| payment.payment_id));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ids);
    for (order_id, page_token, why) in [
        (String::new(), "nonsense".to_owned(), "INVALID_PAGE_TOKEN"),
        ("order_1".to_owned(), String::new(), "INVALID_ID"),
    ] {
        let request = pb::ListPaymentsRequest {
            page_token,
            order_id,
            ..pb::ListPaymentsRequest::default()
        };
        let answer = payments(&world)
            .list_payments(as_user(buyer.user_id, request))
            .await;
        assert_eq!(reason(answer), why);
    }
}

#[tokio::test]
async fn a_cancelled_payment_is_closed_at_its_channel_and_the_order_stays() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    let closing = buyer.cancel(&world, &made.payment_id).await.unwrap();
    assert!(
        closing.closing || closing.status() == pb::PaymentStatus::Closed,
        "{closing:?}"
    );
    reaches(&world, &made.payment_id, &standing("CLOSED", "PENDING", false)).await;
    assert_eq!(
        at_channel(&world, pb::Channel::Wechat, &made.channel_order_no),
        Some(OrderState::Closed)
    );
    assert!(!pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    let closed = buyer.cancel(&world, &made.payment_id).await.unwrap();
    assert_eq!(
        (closed.status(), closed.reason.as_str()),
        (pb::PaymentStatus::Closed, "USER")
    );
    assert_eq!(told(&world, "payment.closed", buyer.order_id).await, 1);

    // The next one is paid, and cannot be closed any more.
    let made = buyer.begin(&world, pb::Channel::Wechat, "two").await.unwrap();
    assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    let late = buyer.cancel(&world, &made.payment_id).await;
    assert_eq!(reason(late), "PAYMENT_NOT_CLOSABLE");
}

#[tokio::test]
async fn a_channel_that_refuses_fails_the_payment() {
    let world = World::new().await;
    for (channel, code) in [
        (pb::Channel::Wechat, "NO_AUTH"),
        (pb::Channel::Alipay, "ACQ.SELLER_BEEN_BLOCKED"),
    ] {
        let refuse = Behaviour::Code {
            code: code.to_owned(),
            status: 403,
        };
        program(&world, channel, vec![Rule::once(Operation::Create, refuse)]);
        let buyer = Buyer::new(&world).await;
        for _ in 0..2 {
            let answer = buyer.begin(&world, channel, "one").await;
            assert_eq!(reason(answer), "CHANNEL_REFUSED");
        }
        let row: (String, String) = sqlx::query_as("select status, reason from payments where order_id = $1")
            .bind(buyer.order_id.uuid())
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(row.0, "FAILED");
        assert!(row.1.contains(code), "{row:?}");
        // Another request may do better.
        assert!(buyer.begin(&world, channel, "two").await.is_ok());
    }
}

#[tokio::test]
async fn a_payment_that_nobody_pays_is_closed_when_its_time_is_over() {
    let world = World::new().await;
    for channel in CHANNELS {
        let buyer = Buyer::with(&world, Duration::from_millis(2_500)).await;
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        reaches(&world, &made.payment_id, &standing("CLOSED", "PENDING", false)).await;
        let closed = buyer.get(&world, &made.payment_id).await.unwrap();
        assert_eq!(closed.reason, "EXPIRED");
        assert!(!pays(&world, channel, &made.channel_order_no));
    }
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
}

#[tokio::test]
async fn a_channel_without_a_provider_is_refused() {
    let world = World::without_alipay(config()).await;
    let buyer = Buyer::new(&world).await;
    let answer = buyer.begin(&world, pb::Channel::Alipay, "one").await;
    assert_eq!(reason(answer), "CHANNEL_NOT_AVAILABLE");
}

#[tokio::test]
async fn an_orchestrator_that_is_away_or_slow_is_told_apart_from_a_refusal() {
    let mut world = World::quiet(config()).await;
    let buyer = Buyer::new(&world).await;
    world.sagas.set_down(true);
    let answer = buyer.begin(&world, pb::Channel::Wechat, "one").await;
    assert_eq!(reason(answer), "UNAVAILABLE");
    assert_eq!(world.value::<i64>("select count(*) from payments").await, 0);
    // Nobody asks the channel: the wait ends, and the same request finds it later.
    world.sagas.set_down(false);
    let answer = buyer.begin(&world, pb::Channel::Wechat, "one").await;
    assert_eq!(reason(answer), "UNAVAILABLE");
    world.run_jobs().await;
    let made = eventually(DEADLINE, async || {
        buyer.begin(&world, pb::Channel::Wechat, "one").await
    })
    .await;
    assert_eq!(
        look(&world, &made.payment_id).await,
        standing("PENDING", "PENDING", false)
    );
}
