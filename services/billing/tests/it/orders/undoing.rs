//! Purchases that are undone.

use ids::{RefundId, UserId};
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use super::support::{action, compensation, membership, until};
use crate::world::{World, config, reason};

const REFUNDED: &str = "update orders set status = 'REFUNDED', refunded_amount = final_amount,
     refunded_at = clock_timestamp() where status = 'PAID'";

#[tokio::test]
async fn an_order_that_was_not_paid_takes_no_payment_any_more() {
    let world = World::quiet(config()).await;
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    let payment = world.payment(&order, "wechat").await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    let cancelling: String = world.value("select cancelling from orders").await;
    assert_eq!(cancelling, "SAGA");
    // It asks often; the provider is not asked more often for that.
    world
        .execute("update provider_checks set next_at = next_at + interval '1 hour'")
        .await;
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    let due = "select count(*) from provider_checks where next_at <= clock_timestamp()";
    assert_eq!(world.count(due).await, 0);

    // A late call of the action has no effect.
    let late = world
        .await_payment(&action(saga_id, "PROCESS_PAYMENT"), &order.order_id)
        .await;
    assert_eq!(reason(late), "SUPERSEDED");
    world.close(payment).await;
    assert!(world.refund_order(&undo, &order.order_id).await.unwrap());
    let undo_record = compensation(saga_id, "CREATE_ORDER");
    for _ in 0..2 {
        assert!(world.cancel_record(&undo_record, &order.order_id).await.unwrap());
    }
    let found = world.get_order(&order.order_id).await;
    assert_eq!(found.status(), pb::OrderStatus::Cancelled);
    assert_eq!(found.cancel_reason, "TIMEOUT");
    assert_eq!(world.facts("order.cancelled").await.len(), 1);
}

#[tokio::test]
async fn the_saga_takes_over_from_a_buyer_who_cancels() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    world.payment(&order, "wechat").await;
    world.cancel(user, &order.order_id, "mine").await.unwrap();
    let undo = compensation(saga_id, "CREATE_ORDER");
    assert!(!world.cancel_record(&undo, &order.order_id).await.unwrap());
    let cancelling: String = world.value("select cancelling from orders").await;
    assert_eq!(cancelling, "SAGA");
}

#[tokio::test]
async fn what_was_paid_goes_back_by_a_saga_of_its_own() {
    let world = World::new().await;
    world.sagas.stall("PAYMENT_REFUND");
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    let payment = world.pay(&order).await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    for _ in 0..3 {
        assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    }
    let started = until(async || world.sagas.started("PAYMENT_REFUND").first().cloned()).await;
    assert!(started.parse::<RefundId>().is_ok());
    let input: Vec<u8> = world.value("select input from saga_starts").await;
    let input: pb::PaymentRefundInput = prost::Message::decode(input.as_slice()).unwrap();
    assert_eq!(input.payment_id, payment.to_string());
    assert_eq!(
        (input.amount, input.cause()),
        (order.final_amount, pb::RefundCause::Compensation)
    );
    until(async || {
        let done = "select count(*) from saga_starts where started_at is not null and saga_id is not null";
        (world.count(done).await == 1).then_some(())
    })
    .await;

    world.execute(REFUNDED).await;
    assert!(world.refund_order(&undo, &order.order_id).await.unwrap());
    let undo = compensation(saga_id, "CREATE_ORDER");
    assert!(world.cancel_record(&undo, &order.order_id).await.unwrap());
    let found = world.get_order(&order.order_id).await;
    assert_eq!(found.status(), pb::OrderStatus::Refunded);
    assert_eq!(world.sagas.started("PAYMENT_REFUND").len(), 1);
    assert_eq!(world.facts("order.cancelled").await.len(), 0);
}

#[tokio::test]
async fn an_order_that_was_paid_before_its_saga_waited_is_given_back_too() {
    let world = World::quiet(config()).await;
    world.sagas.stall("PAYMENT_REFUND");
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    world.pay(&order).await;
    let undo = compensation(saga_id, "CREATE_ORDER");
    assert!(!world.cancel_record(&undo, &order.order_id).await.unwrap());
    assert_eq!(world.count("select count(*) from saga_starts").await, 1);
    world.execute(REFUNDED).await;
    assert!(world.cancel_record(&undo, &order.order_id).await.unwrap());
}

#[tokio::test]
async fn a_refund_that_fails_is_told_to_a_person_and_made_again_when_that_person_is_done() {
    let world = World::quiet(config()).await;
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    let payment = world.pay(&order).await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    let first: String = world.value("select business_id from saga_starts").await;
    let refund_id: RefundId = first.parse().unwrap();
    sqlx::query(
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, status, cause, reason,
             requested_by, error, saga_id, ended_at)
         select $1, 'REF1', id, order_id, user_id, amount, currency, 'CLOSED', 'COMPENSATION', 'r', 'billing',
             'the account is gone', saga_id, clock_timestamp()
         from payments where id = $2",
    )
    .bind(refund_id.uuid())
    .bind(payment.uuid())
    .execute(&world.pool)
    .await
    .unwrap();

    // The case is kept although the compensation fails from then on.
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    for _ in 0..2 {
        let answer = world.refund_order(&undo, &order.order_id).await;
        assert_eq!(reason(answer), "REFUND_CLOSED");
    }
    let detail: String = world
        .value("select detail from cases where kind = 'REFUND_FAILED'")
        .await;
    assert_eq!(detail, "the account is gone");
    assert_eq!(world.count("select count(*) from saga_starts").await, 1);

    world
        .execute("update cases set resolved_at = clock_timestamp(), resolved_by = 'me', note = 'try again'")
        .await;
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    let second: String = world
        .value("select business_id from saga_starts order by created_at desc limit 1")
        .await;
    assert_ne!(second, first);
    world.execute(REFUNDED).await;
    assert!(world.refund_order(&undo, &order.order_id).await.unwrap());
}

#[tokio::test]
async fn a_refund_that_does_not_begin_is_told_to_a_person() {
    let world = World::quiet(config()).await;
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    world.pay(&order).await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    assert_eq!(world.count("select count(*) from cases").await, 0);
    world
        .execute("update saga_starts set created_at = created_at - interval '2 hours'")
        .await;
    for _ in 0..2 {
        assert!(!world.refund_order(&undo, &order.order_id).await.unwrap());
    }
    assert_eq!(
        world
            .count("select count(*) from cases where subject = 'payment'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_purchase_without_a_device_is_undone() {
    let world = World::new().await;
    world.sagas.refuse("ALLOCATE_DEVICE");
    let plan = pb::PublishPlanRequest {
        needs_device: true,
        ..membership("box")
    };
    world.publish(plan).await.unwrap();
    let order = world.buy(UserId::new(), "box", "r").await.unwrap().order.unwrap();
    let cancelled = world.until(&order.order_id, pb::OrderStatus::Cancelled).await;
    assert_eq!(cancelled.cancel_reason, "REFUSED");
    until(async || {
        let saga = world.sagas.saga("PAYMENT_PURCHASE", &order.order_id).unwrap();
        (saga.phase() == SagaPhase::Compensated).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_paid_purchase_whose_quota_is_refused_goes_back() {
    let world = World::new().await;
    world.sagas.refuse("GRANT_QUOTA");
    world.sagas.stall("PAYMENT_REFUND");
    let order = world.order(UserId::new()).await;
    world.pay(&order).await;
    until(async || world.sagas.started("PAYMENT_REFUND").first().cloned()).await;
    world.execute(REFUNDED).await;
    until(async || {
        let saga = world.sagas.saga("PAYMENT_PURCHASE", &order.order_id).unwrap();
        (saga.phase() == SagaPhase::Compensated).then_some(())
    })
    .await;
    assert_eq!(world.sagas.granted(&order.order_id), 0);
    assert_eq!(world.count("select count(*) from memberships").await, 0);
    assert_eq!(world.facts("order.completed").await.len(), 0);
}

#[tokio::test]
async fn a_saga_that_is_due_is_started_once_whatever_happens_in_between() {
    let mut world = World::quiet(config()).await;
    world.sagas.stall("PAYMENT_REFUND");
    world.sagas.set_down(true);
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    world.pay(&order).await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    world.refund_order(&undo, &order.order_id).await.unwrap();
    world.run_jobs().await;
    let tried = "select count(*) from saga_starts where last_error is not null and started_at is null";
    until(async || (world.count(tried).await == 1).then_some(())).await;
    world.kill_jobs().await;
    world.sagas.set_down(false);
    // Another process took it and died before it wrote that it had started the saga.
    world
        .execute("update saga_starts set next_at = clock_timestamp()")
        .await;
    world.run_jobs().await;
    world.run_jobs().await;
    let done = "select count(*) from saga_starts where started_at is not null and last_error is null";
    until(async || (world.count(done).await == 1).then_some(())).await;
    assert_eq!(world.sagas.started("PAYMENT_REFUND").len(), 1);
}
