//! What providers tell on their own: believed if it is theirs, applied once, and never lost.

use std::sync::OnceLock;

use doubles::pay::{Behaviour, Operation, Rule};
use futures::future::join_all;
use ids::SagaId;
use proto::billing::v1 as pb;
use telemetry::metrics::Metrics;
use test_support::eventually;
use test_support::metrics::{LABELS, Scrape};

use crate::buyer::{Buyer, becomes, everything, look, reaches, standing, told};
use crate::payments::{pays, program};
use crate::world::{DEADLINE, World, config, reason};

/// A payment that was paid and told, and the notification as it came.
async fn paid_and_told(
    world: &World,
    channel: pb::Channel,
) -> (Buyer, pb::CreatePaymentResponse, pb::ReceiveNotifyRequest) {
    let buyer = Buyer::new(world).await;
    let made = buyer.begin(world, channel, "one").await.unwrap();
    let before = world.seen().len();
    assert!(pays(world, channel, &made.channel_order_no));
    let notify = eventually(DEADLINE, async || world.seen().into_iter().nth(before)).await;
    (buyer, made, notify)
}

/// Waits until what came is applied, and nothing is left to ask.
async fn quiet(world: &World) {
    becomes(
        world,
        "select count(*) from notify_inbox where state = 'PENDING'",
        0_i64,
    )
    .await;
    becomes(world, "select count(*) from provider_checks", 0_i64).await;
}

#[tokio::test]
async fn a_notification_that_comes_again_changes_nothing_but_the_log() {
    let world = World::new().await;
    for channel in [pb::Channel::Wechat, pb::Channel::Alipay] {
        let (_, made, notify) = paid_and_told(&world, channel).await;
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        quiet(&world).await;
        let before = everything(&world).await;
        let answers = join_all((0..20).map(|_| world.deliver(notify.clone()))).await;
        let good = if channel == pb::Channel::Wechat { 204 } else { 200 };
        for answer in answers {
            let (status, body) = answer.unwrap();
            assert_eq!(status, good, "{body}");
            assert_ne!(body, "fail");
        }
        quiet(&world).await;
        assert_eq!(everything(&world).await, before);
    }
    let log = "select string_agg(outcome || ' ' || n, ', ' order by outcome)
               from (select outcome, count(*) as n from notify_receipts group by outcome) t";
    assert_eq!(world.value::<String>(log).await, "DUPLICATE 40, TAKEN 2");
}

#[tokio::test]
async fn the_orchestrator_hears_at_once_that_an_order_is_paid() {
    let world = World::new().await;
    paid_and_told(&world, pb::Channel::Wechat).await;
    let waiting = SagaId::from_uuid(world.value("select saga_id from orders").await);
    eventually(DEADLINE, async || {
        world.sagas.hints().contains(&waiting).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_provider_repeats_and_mixes_up_is_applied_once() {
    let world = World::new().await;
    let mut buyers = Vec::new();
    for channel in [pb::Channel::Wechat, pb::Channel::Alipay] {
        program(
            &world,
            channel,
            vec![
                Rule::once(Operation::NotifyPayment, Behaviour::Reorder),
                Rule::once(Operation::NotifyPayment, Behaviour::Duplicate(7)),
            ],
        );
        for _ in 0..2 {
            let buyer = Buyer::new(&world).await;
            let made = buyer.begin(&world, channel, "one").await.unwrap();
            assert!(pays(&world, channel, &made.channel_order_no));
            buyers.push((buyer, made));
        }
    }
    for (buyer, made) in buyers {
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        assert_eq!(told(&world, "payment.succeeded", buyer.order_id).await, 1);
    }
    becomes(&world, "select count(*) from notify_receipts", 16_i64).await;
    quiet(&world).await;
    assert_eq!(world.value::<i64>("select count(*) from notify_inbox").await, 4);
}

#[tokio::test]
async fn what_is_not_the_providers_is_refused_and_changes_nothing() {
    // Without background work, nothing but a notification could change anything.
    let mut world = World::quiet(config()).await;
    world.run_jobs().await;
    for channel in [pb::Channel::Wechat, pb::Channel::Alipay] {
        program(
            &world,
            channel,
            vec![Rule::once(Operation::NotifyPayment, Behaviour::WrongKey)],
        );
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        world.kill_jobs().await;
        let before = world.seen().len();
        assert!(pays(&world, channel, &made.channel_order_no));
        // The other provider may still repeat what was refused.
        let forged = eventually(DEADLINE, async || {
            let mut new = world.seen().into_iter().skip(before);
            new.find(|notify| notify.channel() == channel)
        })
        .await;

        let mut longer = forged.clone();
        longer.body = [forged.body.as_ref(), b" "].concat().into();
        let mut bare = forged.clone();
        bare.headers.clear();
        let mut empty = forged.clone();
        empty.body.clear();
        let mut rubbish = forged.clone();
        rubbish.body = vec![0xff, 0, 0x80].into();
        let wrong = [forged, longer, bare, empty, rubbish];
        for notify in wrong {
            let (status, body) = world.deliver(notify).await.unwrap();
            if channel == pb::Channel::Wechat {
                assert_eq!(status, 400, "{body}");
            } else {
                assert_eq!((status, body.as_str()), (200, "fail"));
            }
        }
        assert_eq!(
            look(&world, &made.payment_id).await,
            standing("PENDING", "PENDING", false)
        );
        // It was paid all the same, and asking tells. Leases of the process that was killed are over, let us say.
        sqlx::query("update provider_checks set lease_token = null, lease_until = null")
            .execute(&world.pool)
            .await
            .unwrap();
        world.run_jobs().await;
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    }
    assert_eq!(world.value::<i64>("select count(*) from notify_inbox").await, 0);
    let reasons = "select string_agg(distinct reason, ' ' order by reason) from notify_receipts where outcome = 'REFUSED'";
    let reasons: String = world.value(reasons).await;
    assert!(
        reasons.contains("SIGNATURE") && reasons.contains("MISSING"),
        "{reasons}"
    );
}

#[tokio::test]
async fn a_probe_is_refused_and_the_right_one_taken() {
    let world = World::new().await;
    world
        .wechat
        .program(vec![Rule::once(Operation::NotifyPayment, Behaviour::Probe)]);
    let (_, made, _) = paid_and_told(&world, pb::Channel::Wechat).await;
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    becomes(
        &world,
        "select count(*) from notify_receipts where reason = 'PROBE'",
        1_i64,
    )
    .await;
    becomes(
        &world,
        "select count(*) from notify_receipts where outcome = 'TAKEN'",
        1_i64,
    )
    .await;
}

#[tokio::test]
async fn another_amount_is_held_for_a_person_and_changes_nothing_else() {
    let world = World::new().await;
    for channel in [pb::Channel::Wechat, pb::Channel::Alipay] {
        program(
            &world,
            channel,
            vec![
                Rule::once(Operation::NotifyPayment, Behaviour::WrongAmount),
                Rule::times(20, Operation::Query, Behaviour::WrongAmount),
            ],
        );
    }
    let (buyer, made, _) = paid_and_told(&world, pb::Channel::Wechat).await;
    becomes(
        &world,
        "select count(*) from notify_inbox where state = 'HELD' and detail like '%4901%'",
        1_i64,
    )
    .await;
    assert_eq!(
        look(&world, &made.payment_id).await,
        standing("PENDING", "PENDING", false)
    );
    let cases = "select count(*) from cases where kind = 'AMOUNT_MISMATCH' and resolved_at is null";
    assert_eq!(world.value::<i64>(cases).await, 1);
    assert_eq!(told(&world, "payment.succeeded", buyer.order_id).await, 0);
    // The provider comes to its senses.
    reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    assert_eq!(world.value::<i64>(cases).await, 1);
}

#[tokio::test]
async fn a_number_that_is_not_ours_is_held() {
    let mut world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let made = buyer.begin(&world, pb::Channel::Wechat, "one").await.unwrap();
    world.kill_jobs().await;
    for sql in ["delete from provider_checks", "delete from payments"] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    assert!(pays(&world, pb::Channel::Wechat, &made.channel_order_no));
    becomes(&world, "select count(*) from notify_inbox", 1_i64).await;
    world.run_jobs().await;
    becomes(
        &world,
        "select count(*) from notify_inbox where state = 'HELD' and detail = 'no payment of ours has this number'",
        1_i64,
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let world = World::new().await;
    for channel in [pb::Channel::Wechat, pb::Channel::Alipay] {
        paid_and_told(&world, channel).await;
    }
    let seen = world.seen();
    world.pool.close().await;
    for notify in seen {
        let (status, body) = world.deliver(notify).await.unwrap();
        assert!(status == 500 || body == "fail", "{status} {body}");
    }
}

#[tokio::test]
async fn a_notification_for_nobody_is_refused() {
    let world = World::without_alipay(config()).await;
    let notify = |channel: i32, bytes: usize| pb::ReceiveNotifyRequest {
        channel,
        body: vec![b'x'; bytes].into(),
        ..pb::ReceiveNotifyRequest::default()
    };
    for (channel, bytes, why) in [
        (0, 1, "INVALID_ARGUMENT"),
        (9, 1, "INVALID_ARGUMENT"),
        (pb::Channel::Alipay.into(), 1, "CHANNEL_NOT_AVAILABLE"),
        (pb::Channel::Wechat.into(), 256 * 1024 + 1, "INVALID_ARGUMENT"),
    ] {
        assert_eq!(reason(world.deliver(notify(channel, bytes)).await), why);
    }
    assert_eq!(
        world.value::<i64>("select count(*) from notify_receipts").await,
        0
    );
}

#[tokio::test]
async fn rubbish_is_written_down_within_bounds() {
    let world = World::quiet(config()).await;
    let rubbish = pb::ReceiveNotifyRequest {
        channel: pb::Channel::Alipay.into(),
        body: b"a=b".to_vec().into(),
        ..pb::ReceiveNotifyRequest::default()
    };
    for _ in 0..7 {
        let answers = join_all((0..100).map(|_| world.deliver(rubbish.clone()))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap().1 == "fail"));
    }
    assert_eq!(
        world.value::<i64>("select count(*) from notify_receipts").await,
        600
    );
}

#[tokio::test]
async fn old_deliveries_are_forgotten() {
    let mut world = World::quiet(config()).await;
    for days in [29, 31] {
        sqlx::query(
            "insert into notify_receipts (id, channel, outcome, reason, body_sha256, received_at)
             values (gen_random_uuid(), 'wechat', 'REFUSED', 'SIGNATURE', decode(repeat('00', 32), 'hex'),
                     clock_timestamp() - make_interval(days => $1))",
        )
        .bind(days)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    world.run_jobs().await;
    becomes(&world, "select count(*) from notify_receipts", 1_i64).await;
}

#[tokio::test]
async fn deliveries_are_counted_by_what_became_of_them() {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| telemetry::metrics::install().unwrap());
    let count = |outcome: &str, reason: &str| {
        let scrape = Scrape::parse(&metrics.render()).unwrap();
        assert_eq!(scrape.mistakes(LABELS), Vec::<String>::new());
        let labels = [("channel", "alipay"), ("outcome", outcome), ("reason", reason)];
        scrape.sum("billing_notify_total", &labels)
    };
    let world = World::new().await;
    let wanted = [("taken", "none"), ("duplicate", "none"), ("refused", "MISSING")];
    let before = wanted.map(|(outcome, reason)| count(outcome, reason));
    let (_, _, notify) = paid_and_told(&world, pb::Channel::Alipay).await;
    becomes(&world, "select count(*) from notify_receipts", 1_i64).await;
    world.deliver(notify.clone()).await.unwrap();
    let bare = pb::ReceiveNotifyRequest {
        body: b"a=b".to_vec().into(),
        ..notify
    };
    world.deliver(bare).await.unwrap();
    // Other tests of this process are counted as well.
    for ((outcome, reason), before) in wanted.into_iter().zip(before) {
        assert!(count(outcome, reason) >= before + 1.0, "{outcome}");
    }
}
