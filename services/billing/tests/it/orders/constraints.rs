//! What the tables of plans, orders and memberships refuse, whatever the code does.

use ids::UserId;

use super::support::{action, membership};
use crate::fake_sagas::called;
use crate::world::{World, config};

/// Tries a statement and returns what refused it.
async fn refused(world: &World, sql: &'static str) -> String {
    let error = sqlx::query(sql).execute(&world.pool).await.expect_err(sql);
    let error = error.into_database_error().unwrap();
    error
        .constraint()
        .map_or_else(|| error.message().to_owned(), str::to_owned)
}

#[tokio::test]
async fn impossible_rows_are_refused() {
    let world = World::quiet(config()).await;
    let (order, saga_id) = world.held(UserId::new(), membership("pro")).await;
    let cases = [
        ("update orders set status = 'COMPLETED'", "orders_transition"),
        ("update orders set status = 'PAID'", "orders_status"),
        (
            "update orders set status = 'CANCELLED', cancelled_at = now()",
            "orders_reason",
        ),
        ("update orders set cancel_reason = 'x'", "orders_reason"),
        ("update orders set cancelling = 'NOBODY'", "orders_cancelling"),
        ("update orders set final_amount = amount + 1", "orders_amount"),
        ("update orders set final_amount = 0", "orders_amount"),
        (
            "update orders set refunded_amount = final_amount + 1",
            "orders_refunded",
        ),
        ("update orders set plan_version = 9", "orders_plan"),
        (
            "update order_lines set quantity = 1",
            "order_lines is append-only",
        ),
        ("delete from order_lines", "order_lines is append-only"),
        ("truncate plan_versions cascade", "plan_versions is append-only"),
        ("update plans set version = 9", "plans_version"),
        (
            "insert into plans (id, version, on_sale) values ('x', 1, true)",
            "plans_version",
        ),
        (
            "insert into plans (id, version, on_sale) values ('X', 1, true)",
            "plans_id",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(refused(&world, sql).await, expected, "{sql}");
    }

    world.pay(&order).await;
    let request = proto::billing::v1::ActivateOrderRequest {
        order_id: order.order_id.clone(),
    };
    let call = action(saga_id, "ACTIVATE_ORDER");
    world
        .steps
        .clone()
        .activate_order(called(&call, request))
        .await
        .unwrap();
    let cases = [
        ("update orders set status = 'PAID'", "orders_transition"),
        ("update orders set status = 'CANCELLED'", "orders_transition"),
        (
            "update orders set refunded_amount = final_amount",
            "orders_status",
        ),
        (
            "update memberships set ends_at = starts_at - interval '1 s'",
            "memberships_time",
        ),
        (
            "update membership_periods set revoked_at = now()",
            "membership_periods_revoked",
        ),
        (
            "update membership_periods set days = 0",
            "membership_periods_days",
        ),
        (
            "update membership_history set kind = 'revoked'",
            "membership_history is append-only",
        ),
        ("delete from memberships", "membership_periods_of"),
    ];
    for (sql, expected) in cases {
        assert_eq!(refused(&world, sql).await, expected, "{sql}");
    }
}
