//! What the tables refuse by themselves.

use super::shop::{Goods, ask, ended, sell};
use crate::world::World;

async fn refused(world: &World, sql: &'static str) -> String {
    let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
    let error = error.into_database_error().unwrap();
    error.constraint().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_tables_refuse_what_must_never_be() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let begun = ask(&world, &sold, 400, "r").await.unwrap();
    ended(&world, &begun.refund.unwrap().refund_id).await;
    let more = "update payments set refunded_amount = amount + 1";
    assert_eq!(refused(&world, more).await, "payments_refunded");
    let more = "update orders set refunded_amount = final_amount + 1";
    assert_eq!(refused(&world, more).await, "orders_refunded");
    let half = "update payments set status = 'REFUNDING'";
    assert_eq!(refused(&world, half).await, "payments_refunding");
    let back = "update refunds set status = 'PROCESSING', ended_at = null, booked = false";
    assert_eq!(refused(&world, back).await, "refunds_transition");
    let two =
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, cause, reason,
                                    requested_by, saga_id)
               select gen_random_uuid(), n::text, payment_id, order_id, user_id, 1, currency, cause, reason,
                      requested_by, saga_id
               from refunds, generate_series(1, 2) n";
    assert_eq!(refused(&world, two).await, "refunds_one_open");
}
