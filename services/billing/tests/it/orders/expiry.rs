//! Orders that nobody pays in time.

use ids::UserId;
use proto::billing::v1 as pb;

use super::support::{action, membership};
use crate::world::{World, config, reason};

const PASS: &str =
    "update orders set expires_at = clock_timestamp() - interval '1 second' where status = 'PENDING'";

#[tokio::test]
async fn an_order_that_is_not_paid_in_time_is_cancelled() {
    let mut world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    let (in_time, _) = world.held(user, membership("pro")).await;
    let seconds = |order: &pb::Order| {
        order.expires_at.as_ref().unwrap().seconds - order.created_at.as_ref().unwrap().seconds
    };
    assert!((1_799..=1_801).contains(&seconds(&order)), "half an hour");
    sqlx::query("update orders set expires_at = clock_timestamp() where order_number = $1")
        .bind(&order.order_number)
        .execute(&world.pool)
        .await
        .unwrap();
    world.run_jobs().await;
    // A second process does not hurt.
    world.run_jobs().await;
    let cancelled = world.until(&order.order_id, pb::OrderStatus::Cancelled).await;
    assert_eq!(cancelled.cancel_reason, "EXPIRED");
    let facts = world.facts("order.cancelled").await;
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0]["reason"], "EXPIRED");
    let call = action(saga_id, "PROCESS_PAYMENT");
    let answer = world.await_payment(&call, &order.order_id).await;
    assert_eq!(reason(answer), "ORDER_CANCELLED");
    assert_eq!(
        world.get_order(&in_time.order_id).await.status(),
        pb::OrderStatus::Pending
    );
}

#[tokio::test]
async fn an_order_that_expires_waits_for_its_payment_to_be_closed() {
    let mut world = World::quiet(config()).await;
    let (order, _) = world.held(UserId::new(), membership("pro")).await;
    let payment = world.payment(&order, "alipay").await;
    world.execute(PASS).await;
    world.run_jobs().await;
    let closing = "select count(*) from payments where closing is not null";
    super::support::until(async || (world.count(closing).await == 1).then_some(())).await;
    let found = world.get_order(&order.order_id).await;
    assert_eq!(
        (found.status(), found.cancelling),
        (pb::OrderStatus::Pending, true)
    );
    world.kill_jobs().await;
    world.close(payment).await;
    world.run_jobs().await;
    world.until(&order.order_id, pb::OrderStatus::Cancelled).await;
    assert_eq!(world.facts("order.cancelled").await.len(), 1);
}

#[tokio::test]
async fn more_orders_than_one_round_takes_all_expire() {
    let mut world = World::quiet(config()).await;
    let (order, _) = world.held(UserId::new(), membership("pro")).await;
    let copies = world
        .execute(
            "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency,
                 saga_id, expires_at)
             select gen_random_uuid(), 'ORD' || lpad(n::text, 26, '0'), user_id, plan_id, plan_version, amount,
                 final_amount, currency, saga_id, expires_at
             from orders, generate_series(1, 250) n",
        )
        .await;
    assert_eq!(copies, 250);
    world.execute(PASS).await;
    world.run_jobs().await;
    let left = "select count(*) from orders where status = 'PENDING'";
    super::support::until(async || (world.count(left).await == 0).then_some(())).await;
    assert_eq!(world.facts("order.cancelled").await.len(), 251);
    drop(order);
}
