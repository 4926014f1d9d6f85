//! How payments end without money, and what stands in the way of beginning one.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, OrderState, Rule};
use proto::billing::v1 as pb;
use test_support::eventually;

use crate::buyer::{Buyer, becomes, look, reaches, standing, told};
use crate::desk::desk;
use crate::payments::{CHANNELS, at_channel, pays, program};
use crate::world::{DEADLINE, World, config, reason};

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
        reaches(&world, &made.payment_id, &standing("CLOSED", "CANCELLED", false)).await;
        let closed = buyer.get(&world, &made.payment_id).await.unwrap();
        // Whoever comes first: the payment's own time, or that of its order.
        assert!(
            ["EXPIRED", "ORDER"].contains(&closed.reason.as_str()),
            "{closed:?}"
        );
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

#[tokio::test]
async fn a_case_that_is_closed_while_the_provider_is_asked_is_not_opened_again_at_once() {
    let mut impatient = config();
    impatient.case_after = Duration::from_secs(1);
    let mut world = World::quiet(impatient).await;
    world.run_jobs().await;
    let buyer = Buyer::new(&world).await;
    buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    let silence = Rule {
        times: None,
        ..Rule::once(Operation::Query, Behaviour::Status(500)).delay_ms(500)
    };
    world.wechat.program(vec![silence]);
    let open = "select count(*) from cases where resolved_at is null";
    becomes(&world, open, 1_i64).await;
    let asking = "select exists (select 1 from provider_checks where lease_until is not null)";
    becomes(&world, asking, true).await;
    let cases = desk(&world).list_cases(pb::ListCasesRequest::default()).await;
    let case = cases.unwrap().into_inner().cases.pop().unwrap();
    let request = pb::ResolveCaseRequest {
        case_id: case.case_id,
        note: "they are at it".to_owned(),
        ..pb::ResolveCaseRequest::default()
    };
    desk(&world).resolve_case(request).await.unwrap();
    becomes(&world, open, 1_i64).await;
    let apart: bool = world
        .value("select max(opened_at) - max(resolved_at) >= interval '1 second' from cases")
        .await;
    assert!(apart, "the time is counted anew");
}
