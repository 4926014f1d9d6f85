//! Background work that is broken off, and transactions that fail in the middle.

use ids::UserId;
use proto::billing::v1 as pb;

use super::support::{action, compensation, membership, until};
use crate::fake_sagas::called;
use crate::world::{World, config, reason};

/// Makes every insert into a table fail, until it is dropped.
const BREAK_OUTBOX: &str = "create function broken() returns trigger language plpgsql as
     $$ begin raise exception 'broken'; end $$;
     create trigger broken before insert on outbox for each row execute function broken()";
const MEND_OUTBOX: &str = "drop trigger broken on outbox";

async fn run(world: &World, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&world.pool).await.unwrap();
}

#[tokio::test]
async fn an_order_is_not_cancelled_without_telling_it() {
    let mut world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    run(&world, BREAK_OUTBOX).await;
    assert_eq!(reason(world.cancel(user, &order.order_id, "").await), "INTERNAL");
    let undo = compensation(saga_id, "CREATE_ORDER");
    assert!(world.cancel_record(&undo, &order.order_id).await.is_err());
    world
        .execute("update orders set expires_at = clock_timestamp()")
        .await;
    world.run_jobs().await;
    let found = world.get_order(&order.order_id).await;
    assert_eq!(
        (found.status(), found.cancelling),
        (pb::OrderStatus::Pending, false)
    );
    run(&world, MEND_OUTBOX).await;
    world.until(&order.order_id, pb::OrderStatus::Cancelled).await;
    assert_eq!(world.facts("order.cancelled").await.len(), 1);
}

#[tokio::test]
async fn an_order_is_not_completed_in_part() {
    let world = World::quiet(config()).await;
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    world.pay(&order).await;
    run(&world, BREAK_OUTBOX).await;
    let request = pb::ActivateOrderRequest {
        order_id: order.order_id.clone(),
    };
    let call = action(saga_id, "ACTIVATE_ORDER");
    let activate = || {
        let (mut steps, request) = (world.steps.clone(), called(&call, request.clone()));
        async move { steps.activate_order(request).await }
    };
    assert!(activate().await.is_err());
    assert_eq!(
        world.get_order(&order.order_id).await.status(),
        pb::OrderStatus::Paid
    );
    for table in [
        "select count(*) from memberships",
        "select count(*) from membership_periods",
        "select count(*) from membership_history",
    ] {
        assert_eq!(world.count(table).await, 0);
    }
    run(&world, MEND_OUTBOX).await;
    let first = activate().await.unwrap().into_inner();
    assert_eq!(activate().await.unwrap().into_inner(), first);
    assert_eq!(world.count("select count(*) from membership_periods").await, 1);
}

#[tokio::test]
async fn processes_that_die_again_and_again_cancel_every_order_once() {
    let mut world = World::quiet(config()).await;
    world.held(UserId::new(), membership("pro")).await;
    world
        .execute(
            "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency,
                 saga_id, expires_at)
             select gen_random_uuid(), 'ORD' || lpad(n::text, 26, '0'), user_id, plan_id, plan_version, amount,
                 final_amount, currency, saga_id, expires_at
             from orders, generate_series(1, 199) n",
        )
        .await;
    world
        .execute("update orders set expires_at = clock_timestamp()")
        .await;
    let left = "select count(*) from orders where status = 'PENDING'";
    let mut before = 200;
    while before > 0 {
        world.run_jobs().await;
        world.run_jobs().await;
        until(async || (world.count(left).await < before).then_some(())).await;
        world.kill_jobs().await;
        before = world.count(left).await;
    }
    assert_eq!(world.facts("order.cancelled").await.len(), 200);
    let told = "select count(distinct key) from outbox where topic = 'order.cancelled'";
    assert_eq!(world.count(told).await, 200);
}
