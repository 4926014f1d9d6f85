//! What the tables of payments refuse, whatever the code does.

use proto::billing::v1 as pb;
use sqlx::AssertSqlSafe;

use crate::buyer::{Buyer, becomes, reaches, standing};
use crate::payments::pays;
use crate::world::World;

/// Runs a statement about a payment, and returns the name of the constraint that refuses it.
async fn refused_by(world: &World, set: &str, payment_no: &str) -> String {
    let sql = format!("update payments set {set} where payment_no = '{payment_no}'");
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await;
    let error = done.expect_err(set);
    let refused = error.as_database_error().and_then(|error| error.constraint());
    refused.unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn a_payment_cannot_be_what_it_must_never_be() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
    let number = made.channel_order_no.as_str();
    for (set, constraint) in [
        ("status = 'PENDING', paid_at = null", "payments_transition"),
        (
            "status = 'CLOSED', paid_at = null, reason = 'x'",
            "payments_transition",
        ),
        (
            "status = 'REFUNDED', refunded_amount = amount",
            "payments_transition",
        ),
        ("status = 'REFUNDING'", "payments_refunding"),
        ("refunded_amount = -1", "payments_refunded"),
        ("refunded_amount = amount + 1", "payments_refunded"),
        (
            "status = 'REFUNDING', refunding_amount = amount, refunded_amount = 1",
            "payments_refunded",
        ),
        ("refunded_amount = amount", "payments_status"),
        ("paid_at = null", "payments_paid"),
        ("refunds = 51", "payments_refunds"),
        ("amount = 0", "payments_amount"),
        ("channel = 'paypal'", "payments_channel"),
        ("order_id = gen_random_uuid()", "payments_order"),
    ] {
        assert_eq!(refused_by(&world, set, number).await, constraint, "{set}");
    }
}

#[tokio::test]
async fn an_order_has_one_open_payment_of_a_channel_and_is_paid_once() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let wechat = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    let alipay = buyer.begin(&world, pb::Channel::Alipay, "two").await.unwrap();
    let number = alipay.channel_order_no.as_str();
    assert_eq!(
        refused_by(&world, "channel = 'wechat'", number).await,
        "payments_one_open"
    );
    assert!(pays(&world, pb::Channel::Wechat, &wechat.channel_order_no));
    reaches(&world, &wechat.payment_id, &standing("SUCCESS", "PAID", false)).await;
    reaches(&world, &alipay.payment_id, &standing("CLOSED", "PAID", false)).await;
    let paid = "status = 'SUCCESS', paid_at = clock_timestamp()";
    assert_eq!(refused_by(&world, paid, number).await, "payments_one_paid");
    let same = "status = 'SUCCESS', paid_at = clock_timestamp(), late = true, channel = 'wechat',
                provider_no = (select provider_no from payments where provider_no is not null)";
    assert_eq!(refused_by(&world, same, number).await, "payments_provider_no");
}

#[tokio::test]
async fn a_notification_cannot_be_applied_and_open() {
    let world = World::new().await;
    let insert = |rest: &str| {
        let sql = format!(
            "insert into notify_inbox (id, channel, event_id, subject, number, event, state, detail, applied_at)
             values (gen_random_uuid(), 'wechat', 'E1', {rest})"
        );
        let pool = world.pool.clone();
        async move {
            let error = sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.err()?;
            Some(error.as_database_error()?.constraint()?.to_owned())
        }
    };
    for (rest, constraint) in [
        (
            "'payment', 'N', '{}', 'APPLIED', null, null",
            "notify_inbox_state",
        ),
        (
            "'payment', 'N', '{}', 'PENDING', null, now()",
            "notify_inbox_state",
        ),
        ("'payment', 'N', '{}', 'HELD', null, now()", "notify_inbox_state"),
        ("'payment', 'N', '{}', 'DONE', null, now()", "notify_inbox_state"),
        (
            "'order', 'N', '{}', 'APPLIED', null, now()",
            "notify_inbox_subject",
        ),
    ] {
        assert_eq!(insert(rest).await.as_deref(), Some(constraint), "{rest}");
    }
    let good = "'payment', 'N', '{}', 'APPLIED', null, now()";
    assert_eq!(insert(good).await, None);
    assert_eq!(insert(good).await.as_deref(), Some("notify_inbox_event"));
}
