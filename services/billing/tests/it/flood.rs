//! Many notifications at once.

use std::time::{Duration, Instant};

use ids::{OrderId, PaymentId, UserId};

use crate::buyer::{Buyer, becomes};
use crate::world::{World, config};

/// How many come at once.
const FLOOD: i32 = 600;

#[tokio::test]
async fn a_flood_of_notifications_is_applied_by_two_processes_each_of_them_once() {
    let mut world = World::quiet(billing::Config {
        // Nothing is asked in this test.
        ask_after: vec![Duration::from_secs(3600)],
        ..config()
    })
    .await;
    // For the plan.
    Buyer::new(&world).await;
    for _ in 0..FLOOD {
        let (order_id, payment_id, user_id) = (OrderId::new(), PaymentId::new(), UserId::new());
        let number = payment_id.uuid().simple().to_string();
        sqlx::query(
            "with o as (
                insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency,
                                    saga_id, expires_at)
                values ($1, $2, $3, 'pro', 1, 4900, 4900, 'CNY', $1, clock_timestamp() + interval '1 hour')
             ), p as (
                insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency,
                                      saga_id, saga_step, payment_url, expires_at)
                values ($4, $2, $1, $3, 'wechat', $2, 4900, 'CNY', $1, 'CALL_PAYMENT_CHANNEL', 'u',
                        clock_timestamp() + interval '1 hour')
             )
             insert into notify_inbox (id, channel, event_id, subject, number, event)
             values ($4, 'wechat', $2, 'payment', $2, $5)",
        )
        .bind(order_id.uuid())
        .bind(&number)
        .bind(user_id.uuid())
        .bind(payment_id.uuid())
        .bind(serde_json::json!({
            "of": "payment", "provider_no": format!("42{number}"), "state": "PAID",
            "amount": {"amount_minor": 4900, "currency": "CNY"}, "paid_at": "2026-11-21T10:00:00Z",
        }))
        .execute(&world.pool)
        .await
        .unwrap();
    }
    let began = Instant::now();
    world.run_jobs().await;
    world.run_jobs().await;
    becomes(
        &world,
        "select count(*) from notify_inbox where state = 'APPLIED'",
        i64::from(FLOOD),
    )
    .await;
    let rate = f64::from(FLOOD) / began.elapsed().as_secs_f64();
    assert!(rate > 20.0, "{rate:.0} notifications a second");
    for sql in [
        "select count(*) from orders where status = 'PAID'",
        "select count(*) from outbox where topic = 'payment.succeeded'",
    ] {
        assert_eq!(world.value::<i64>(sql).await, i64::from(FLOOD));
    }
}
