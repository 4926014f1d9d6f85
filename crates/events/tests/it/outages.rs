//! Brokers and databases that stop and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use test_support::eventually;

use crate::world::{FACT, Kind, LONG, World};

/// Rows that may wait before the writer does, while there is a broker: it is faster than any relay.
const BACKLOG: i64 = 300;

/// Writes events until told to end; returns how many.
fn load(world: &World, on: &Arc<AtomicBool>, away: &Arc<AtomicBool>) -> tokio::task::JoinHandle<i64> {
    let (pool, on, away) = (world.pool.clone(), Arc::clone(on), Arc::clone(away));
    tokio::spawn(async move {
        let mut n = 0;
        while on.load(Ordering::SeqCst) {
            let key = format!("order_{}", n % 17);
            let event = events::Event::new("order.placed", key, serde_json::json!({ "n": n }));
            let mut conn = pool.acquire().await.unwrap();
            events::outbox::insert(&mut conn, "shop", &event).await.unwrap();
            n += 1;
            if n % 100 == 0 {
                let waiting = "select count(*) from shop.outbox where published_at is null";
                eventually(LONG, || async {
                    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
                    waiting < BACKLOG || away.load(Ordering::SeqCst) || !on.load(Ordering::SeqCst)
                })
                .await;
            }
            tokio::task::yield_now().await;
        }
        n
    })
}

async fn all_applied_once(world: &World, written: i64) {
    world.until_effects(written).await;
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    assert_eq!(
        world
            .number("select count(distinct event_id) from shop.effect")
            .await,
        written
    );
    assert_eq!(world.effects().await, written);
    assert!(world.letters().await.is_empty());
}

/// Stopped first and killed later: RabbitMQ writes down which quorum queues it has half a second after they were made, and
/// one that is killed before that has a queue without a leader for ever (rabbitmq-server issue 15725; docs/operations.md).
#[tokio::test]
async fn a_broker_that_is_stopped_or_killed_under_load_loses_and_doubles_nothing() {
    let mut world = World::on_private_broker().await;
    world.consume(&["order.*"]);
    world.keep();
    world.relay();
    world.relay();
    let on = Arc::new(AtomicBool::new(true));
    let away = Arc::new(AtomicBool::new(false));
    let writer = load(&world, &on, &away);
    world.until_effects(200).await;
    world.private().stop().await;
    // Work goes on without a broker.
    away.store(true, Ordering::SeqCst);
    let before = world.unpublished().await;
    eventually(LONG, || async { world.unpublished().await > before + 200 }).await;
    away.store(false, Ordering::SeqCst);
    let applied = world.effects().await;
    world.private().restart().await;
    world.until_effects(applied + 200).await;
    world.private().kill().await;
    away.store(true, Ordering::SeqCst);
    let before = world.unpublished().await;
    eventually(LONG, || async { world.unpublished().await > before + 200 }).await;
    world.private().restart().await;
    on.store(false, Ordering::SeqCst);
    let written = writer.await.unwrap();
    all_applied_once(&world, written).await;
    world.halt().await;
}

#[tokio::test]
async fn jobs_that_start_before_their_broker_find_it_later() {
    let mut world = World::on_private_broker().await;
    world.private().kill().await;
    world.consume(&["order.*"]);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 5).await;
    // An order to end is obeyed although there is no broker.
    world.halt().await;
    world.consume(&["order.*"]);
    world.relay();
    world.private().restart().await;
    world.until_effects(5).await;
    world.halt().await;
}

#[rstest::rstest]
#[tokio::test]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    world.consume(&["order.*"]);
    world.keep();
    world.relay();
    world.relay();
    let written = Arc::new(AtomicI64::new(0));
    for round in 0..10 {
        for key in 0..5 {
            world
                .insert_many("order.placed", &format!("order_{key}"), round * 10, 10)
                .await;
            written.fetch_add(10, Ordering::SeqCst);
        }
        // Every connection of the services, at whatever they are doing; the administrator's stays.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name like 'evenkeel/%'",
        )
        .execute(world.database.admin())
        .await
        .unwrap();
        let least = (round + 1) * 20;
        eventually(LONG, || async { world.effects().await >= least }).await;
    }
    all_applied_once(&world, written.load(Ordering::SeqCst)).await;
    world.halt().await;
}

#[tokio::test]
async fn a_consumer_that_stays_silent_loses_its_messages_to_another() {
    let config = events::Config {
        visibility: Duration::from_secs(1),
        ..crate::world::fast()
    };
    let mut world = World::with(Kind::Postgres, config).await;
    world.consume(&["order.*", "shop.probe"]);
    world.until_bound().await;
    world.halt().await;
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 3).await;
    eventually(LONG, || async {
        world.number("select count(*) from events.message").await >= 3
    })
    .await;
    // Taken by a process that died.
    sqlx::query("update events.message set holder = gen_random_uuid(), visible_at = clock_timestamp() + interval '1 s'")
        .execute(world.database.admin())
        .await
        .unwrap();
    world.consume(&["order.*"]);
    eventually(LONG, || async {
        world.number("select count(*) from events.message").await == 0
    })
    .await;
    assert_eq!(
        world
            .number("select count(*) from shop.effect where topic = 'order.placed'")
            .await,
        3
    );
    world.halt().await;
}

/// A relay that started on an empty table, and then a broker that was away for long.
#[tokio::test]
async fn a_long_backlog_is_published_without_reading_it_again_and_again() {
    let mut world = World::new(Kind::Postgres).await;
    world.relay();
    world.insert_many(FACT, "warm", 0, 1).await;
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    sqlx::query(
        "insert into shop.outbox (id, topic, key, data)
         select gen_random_uuid(), $1, 'key_' || n % 20000, '{}' from generate_series(1, 100000) n",
    )
    .bind(FACT)
    .execute(world.database.admin())
    .await
    .unwrap();
    // Quadratic plans take minutes for a single look.
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    world.halt().await;
}
