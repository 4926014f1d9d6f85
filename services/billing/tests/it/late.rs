//! Money that comes when it is not wanted any more goes back.

use doubles::pay::{Behaviour, Operation, Rule};
use ids::OrderId;
use prost::Message as _;
use proto::billing::v1 as pb;
use sqlx::AssertSqlSafe;

use crate::buyer::{Buyer, PRICE, becomes, late_refunds, look, reaches, standing, told};
use crate::payments::{pays, program};
use crate::world::{World, config};

/// Somebody cancels an order: its payments are to be closed, and are asked about at once.
async fn cancel_order(world: &World, order_id: OrderId, who: &str) {
    let who = format!("update orders set cancelling = '{who}' where id = $1");
    for sql in [
        who.as_str(),
        "update payments set closing = 'ORDER' where order_id = $1 and status = 'PENDING'",
        "update provider_checks set next_at = clock_timestamp()
         where subject_id in (select id from payments where order_id = $1)",
    ] {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(order_id.uuid())
            .execute(&world.pool)
            .await
            .unwrap();
    }
}

/// Nobody tells us that something was paid.
fn silent() -> Rule {
    Rule {
        times: None,
        ..Rule::once(Operation::NotifyPayment, Behaviour::Lose)
    }
}

#[tokio::test]
async fn a_cancelled_order_is_over_with_its_last_open_payment() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    for (channel, request) in [(pb::Channel::Wechat, "one"), (pb::Channel::Alipay, "two")] {
        buyer.begin(&world, channel, request).await.unwrap();
    }
    cancel_order(&world, buyer.order_id, "USER").await;
    becomes(
        &world,
        "select count(*) from payments where status = 'CLOSED'",
        2_i64,
    )
    .await;
    becomes(
        &world,
        "select status || ' ' || cancel_reason from orders",
        "CANCELLED USER".to_owned(),
    )
    .await;
    assert_eq!(told(&world, "order.cancelled", buyer.order_id).await, 1);
    assert_eq!(told(&world, "payment.closed", buyer.order_id).await, 2);
}

#[tokio::test]
async fn a_payment_after_the_orders_end_goes_back_whether_or_not_it_is_told() {
    let world = World::new().await;
    for silence in [false, true] {
        // Alipay knows a code only once it is scanned: closing it before that does not keep anybody from paying.
        program(
            &world,
            pb::Channel::Alipay,
            if silence { vec![silent()] } else { Vec::new() },
        );
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, pb::Channel::Alipay, "one").await.unwrap();
        cancel_order(&world, buyer.order_id, "USER").await;
        reaches(&world, &made.payment_id, &standing("CLOSED", "CANCELLED", false)).await;
        let before = late_refunds(&world).await.len();

        assert!(pays(&world, pb::Channel::Alipay, &made.channel_order_no));
        reaches(&world, &made.payment_id, &standing("SUCCESS", "CANCELLED", true)).await;
        assert_eq!(late_refunds(&world).await.len(), before + 1);
        assert_eq!(told(&world, "payment.succeeded", buyer.order_id).await, 1);
        let input: Vec<u8> =
            sqlx::query_scalar("select input from saga_starts order by created_at desc limit 1")
                .fetch_one(&world.pool)
                .await
                .unwrap();
        let input = pb::PaymentRefundInput::decode(input.as_slice()).unwrap();
        assert_eq!(
            (input.payment_id.as_str(), input.amount),
            (made.payment_id.as_str(), PRICE)
        );
        assert_eq!(input.cause(), pb::RefundCause::Late);
        assert!(late_refunds(&world).await.contains(&input.refund_id));
    }
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
}

#[tokio::test]
async fn a_payer_who_is_faster_than_the_buyers_cancellation_has_paid() {
    let mut world = World::new().await;
    for who in ["USER", "EXPIRED"] {
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
        world.kill_jobs().await;
        program(&world, pb::Channel::Wechat, vec![silent()]);
        assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
        cancel_order(&world, buyer.order_id, who).await;
        free_leases(&world).await;
        world.run_jobs().await;
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        let cancelling: Option<String> = sqlx::query_scalar("select cancelling from orders where id = $1")
            .bind(buyer.order_id.uuid())
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(cancelling, None);
    }
    assert!(late_refunds(&world).await.is_empty());
}

/// The leases of a process that was killed are over.
pub(crate) async fn free_leases(world: &World) {
    sqlx::query("update provider_checks set lease_until = clock_timestamp() where lease_until is not null")
        .execute(&world.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_order_that_the_saga_takes_back_takes_no_payment() {
    let mut world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    world.kill_jobs().await;
    cancel_order(&world, buyer.order_id, "SAGA").await;
    assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    free_leases(&world).await;
    world.run_jobs().await;
    reaches(&world, &made.payment_id, &standing("SUCCESS", "CANCELLED", true)).await;
    assert_eq!(late_refunds(&world).await.len(), 1);
    assert_eq!(told(&world, "order.cancelled", buyer.order_id).await, 1);
}

#[tokio::test]
async fn an_order_is_paid_once_and_every_further_payment_goes_back() {
    let mut world = World::new().await;
    let mut both = Vec::new();
    for _ in 0..5 {
        let buyer = Buyer::new(&world).await;
        let wechat = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
        let alipay = buyer.begin(&world, pb::Channel::Alipay, "two").await.unwrap();
        both.push((wechat, alipay));
    }
    world.kill_jobs().await;
    for (wechat, alipay) in &both {
        assert!(pays(&world, pb::Channel::Wechat, &wechat.channel_order_no));
        assert!(pays(&world, pb::Channel::Alipay, &alipay.channel_order_no));
    }
    free_leases(&world).await;
    // Two processes at once, by notifications and by asking.
    world.run_jobs().await;
    world.run_jobs().await;
    becomes(
        &world,
        "select count(*) from payments where status = 'SUCCESS'",
        10_i64,
    )
    .await;
    for (wechat, alipay) in &both {
        let late = [
            look(&world, &wechat.payment_id).await,
            look(&world, &alipay.payment_id).await,
        ];
        assert_eq!(late.iter().filter(|(.., late)| *late).count(), 1, "{late:?}");
        assert!(late.iter().all(|(_, order, _)| order == "PAID"), "{late:?}");
    }
    assert_eq!(late_refunds(&world).await.len(), 5);
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
}

#[tokio::test]
async fn a_cancelled_payment_that_is_paid_all_the_same_pays_the_order() {
    let world = World::quiet(config()).await;
    let mut world = world;
    world.run_jobs().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Alipay, "one").await.unwrap();
    buyer.cancel(&world, &made.payment_id).await.unwrap();
    reaches(&world, &made.payment_id, &standing("CLOSED", "PENDING", false)).await;
    assert!(pays(&world, pb::Channel::Alipay, &made.channel_order_no));
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    assert!(late_refunds(&world).await.is_empty());
}
