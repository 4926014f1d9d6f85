//! Channels that hang, lie, and break: an outcome is asked for until it is known, and never guessed.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, Rule};
use proto::billing::v1 as pb;

use crate::buyer::{Buyer, becomes, late_refunds, look, reaches, standing, told};
use crate::late::free_leases;
use crate::payments::{pays, program};
use crate::world::{World, config};

const CHANNELS: [pb::Channel; 2] = [pb::Channel::Wechat, pb::Channel::Alipay];

/// Answers that say nothing about what happened.
fn unknown() -> Vec<Behaviour> {
    vec![
        Behaviour::Status(500),
        Behaviour::Status(404),
        Behaviour::Hang,
        Behaviour::Cut,
        Behaviour::Garbage,
        Behaviour::Huge,
        Behaviour::Unsigned,
        Behaviour::WrongKey,
    ]
}

fn for_ever(on: Operation, behaviour: Behaviour) -> Rule {
    Rule {
        times: None,
        ..Rule::once(on, behaviour)
    }
}

#[tokio::test]
async fn whatever_becomes_of_the_first_call_there_is_one_order_and_its_code_is_shown() {
    let world = World::new().await;
    for channel in CHANNELS {
        for behaviour in unknown() {
            for effect in [false, true] {
                let mut rule = Rule::once(Operation::Create, behaviour.clone());
                rule.effect = Some(effect);
                program(&world, channel, vec![rule]);
                let buyer = Buyer::new(&world).await;
                let made = buyer.begin(&world, channel, "one").await.unwrap();
                assert!(made.payment_url.starts_with("http"), "{behaviour:?}");
                assert!(pays(&world, channel, &made.channel_order_no), "{behaviour:?}");
                reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
            }
        }
    }
    assert_eq!(world.wechat.books().orders.len(), 2 * unknown().len());
    assert_eq!(world.alipay.books().orders.len(), 2 * unknown().len());
}

#[tokio::test]
async fn whatever_becomes_of_questions_and_closes_a_payer_who_was_faster_has_paid() {
    let mut world = World::new().await;
    for channel in CHANNELS {
        for behaviour in unknown() {
            program(&world, channel, Vec::new());
            let buyer = Buyer::new(&world).await;
            let made = buyer.begin(&world, channel, "one").await.unwrap();
            world.kill_jobs().await;
            program(
                &world,
                channel,
                vec![
                    for_ever(Operation::NotifyPayment, Behaviour::Lose),
                    Rule::once(Operation::Close, behaviour.clone()),
                    Rule::times(2, Operation::Query, behaviour.clone()),
                ],
            );
            assert!(pays(&world, channel, &made.channel_order_no));
            buyer.cancel(&world, &made.payment_id).await.unwrap();
            free_leases(&world).await;
            world.run_jobs().await;
            reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        }
    }
    assert!(late_refunds(&world).await.is_empty());
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_told_to_a_person_once_and_asked_on() {
    let patient = billing::Config {
        case_after: Duration::from_secs(1),
        ..config()
    };
    let mut world = World::quiet(patient).await;
    world.run_jobs().await;
    for (n, channel) in (1_i64..).zip(CHANNELS) {
        program(
            &world,
            channel,
            vec![
                for_ever(Operation::NotifyPayment, Behaviour::Lose),
                for_ever(Operation::Query, Behaviour::Status(503)),
            ],
        );
        let buyer = Buyer::new(&world).await;
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        assert!(pays(&world, channel, &made.channel_order_no));
        becomes(
            &world,
            "select count(*) from cases where kind = 'UNKNOWN_OUTCOME'",
            n,
        )
        .await;
        let tries = "select max(tries) from provider_checks";
        let before: i32 = world.value(tries).await;
        test_support::eventually(crate::world::DEADLINE, async || {
            world.value::<i32>(tries).await > before + 2
        })
        .await;
        assert_eq!(
            look(&world, &made.payment_id).await,
            standing("PENDING", "PENDING", false)
        );
        assert_eq!(told(&world, "payment.unknown", buyer.order_id).await, 1);
        program(
            &world,
            channel,
            vec![for_ever(Operation::NotifyPayment, Behaviour::Lose)],
        );
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
    }
}

#[tokio::test]
async fn a_payment_that_is_cancelled_before_anybody_could_scan_it_is_closed() {
    let world = World::new().await;
    for channel in CHANNELS {
        // The channel answers nothing for a while; then it has never heard of the payment.
        program(
            &world,
            channel,
            vec![Rule::times(5, Operation::Create, Behaviour::Status(503))],
        );
        let buyer = Buyer::new(&world).await;
        world.sagas.stall("PAYMENT_REFUND");
        let begun = buyer.begin(&world, channel, "one");
        let cancelled = async {
            let id: String = test_support::eventually(crate::world::DEADLINE, async || {
                sqlx::query_scalar::<_, uuid::Uuid>(
                    "select id from payments where order_id = $1 and saga_step is not null",
                )
                .bind(buyer.order_id.uuid())
                .fetch_optional(&world.pool)
                .await
                .unwrap()
                .map(|id| ids::PaymentId::from_uuid(id).to_string())
            })
            .await;
            buyer.cancel(&world, &id).await.unwrap();
            id
        };
        let (_, id) = tokio::join!(begun, cancelled);
        reaches(&world, &id, &standing("CLOSED", "PENDING", false)).await;
    }
}

#[tokio::test]
async fn jobs_that_die_again_and_again_lose_nothing_and_do_nothing_twice() {
    let mut world = World::new().await;
    let mut all = Vec::new();
    for n in 0..12 {
        let buyer = Buyer::new(&world).await;
        let channel = CHANNELS[n % 2];
        let made = buyer.begin(&world, channel, "one").await.unwrap();
        all.push((buyer, channel, made));
    }
    for (n, (_, channel, made)) in all.iter().enumerate() {
        if n % 3 == 0 {
            program(
                &world,
                *channel,
                vec![Rule::once(Operation::NotifyPayment, Behaviour::Lose)],
            );
        }
        assert!(pays(&world, *channel, &made.channel_order_no));
        world.kill_jobs().await;
        free_leases(&world).await;
        world.run_jobs().await;
    }
    for (buyer, _, made) in &all {
        reaches(&world, &made.payment_id, &standing("SUCCESS", "PAID", false)).await;
        assert_eq!(told(&world, "payment.succeeded", buyer.order_id).await, 1);
    }
    becomes(
        &world,
        "select count(*) from notify_inbox where state = 'PENDING'",
        0_i64,
    )
    .await;
    assert!(late_refunds(&world).await.is_empty());
}
