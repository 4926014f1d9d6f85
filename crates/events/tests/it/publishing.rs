//! From the outbox to the broker.

use std::time::Duration;

use events::{Config, Event};
use rstest::rstest;
use serde_json::json;
use test_support::eventually;
use uuid::Uuid;

use crate::world::{FACT, Kind, LONG, World, fast};

#[rstest]
#[tokio::test]
async fn what_is_written_arrives_with_everything_it_had(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    world.consume(&["order.*"]);
    world.relay();
    let event = Event::new(
        "order.placed",
        "order_1",
        json!({ "n": 1, "text": "Größe \u{1f600}" }),
    )
    .with_attribute("completiontoken", "t");
    world.insert(&event).await;
    world.until_effects(1).await;
    let (id, topic, key, data): (String, String, String, serde_json::Value) =
        sqlx::query_as("select event_id, topic, key, data from shop.effect")
            .fetch_one(world.database.admin())
            .await
            .unwrap();
    assert_eq!(
        (id, topic.as_str(), key.as_str()),
        (event.id.to_string(), "order.placed", "order_1")
    );
    assert_eq!(data, event.data);
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn an_event_is_written_once_for_its_id(#[values(Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let event = Event::new("order.placed", "order_1", json!({}));
    world.insert(&event).await;
    let mut conn = world.pool.acquire().await.unwrap();
    assert!(!events::outbox::insert(&mut conn, "shop", &event).await.unwrap());
    let rolled_back = Event {
        id: Uuid::now_v7(),
        ..event
    };
    let mut tx = world.pool.begin().await.unwrap();
    events::outbox::insert(&mut tx, "shop", &rolled_back)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(world.unpublished().await, 1);
}

#[rstest]
#[tokio::test]
async fn what_no_queue_takes_stays_and_goes_once_one_does(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 3).await;
    world.insert_many("order.placed", "order_2", 3, 1).await;
    eventually(LONG, || async {
        world
            .number("select count(*) from shop.outbox where tries > 0 and next_try is not null")
            .await
            == 2
    })
    .await;
    assert_eq!(world.unpublished().await, 4);
    world.consume(&["order.*"]);
    world.until_effects(4).await;
    assert_eq!(
        world
            .numbers("select (data ->> 'n')::int8 from shop.effect where key = 'order_1' order by place")
            .await,
        [0, 1, 2]
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_fact_that_nobody_wants_is_published_all_the_same(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    world.relay();
    world.insert_many(FACT, "order_1", 0, 2).await;
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn the_order_of_a_key_is_kept_by_several_relays(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    world.consume(&["order.#", "shop.probe"]);
    world.until_bound().await;
    for _ in 0..3 {
        world.relay();
    }
    for round in 0..10 {
        for key in ["a", "b", "c", "d", "e"] {
            world.insert_many("order.placed", key, round * 10, 10).await;
        }
    }
    world.until_effects(501).await;
    let out_of_order = "select count(*) from (
        select (data ->> 'n')::int8 as n, lag((data ->> 'n')::int8) over (partition by key order by place) as before
        from shop.effect where topic = 'order.placed'
     ) seen where n < before";
    assert_eq!(world.number(out_of_order).await, 0);
    assert_eq!(
        world
            .number("select count(distinct event_id) from shop.effect")
            .await,
        501
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_relay_that_dies_between_publishing_and_marking_does_no_harm(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let config = Config {
        keep_published: Some(LONG),
        ..fast()
    };
    let mut world = World::with(kind, config).await;
    world.consume(&["order.*"]);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 20).await;
    world.until_effects(20).await;
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    // As if the marks had been lost.
    sqlx::query("update shop.outbox set published_at = null")
        .execute(world.database.admin())
        .await
        .unwrap();
    world.insert_many("order.placed", "order_1", 20, 1).await;
    world.until_effects(21).await;
    assert_eq!(world.effects().await, 21);
    assert_eq!(
        world
            .numbers("select (data ->> 'n')::int8 from shop.effect order by place")
            .await,
        (0..21).collect::<Vec<_>>()
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn published_rows_are_deleted_after_their_time(
    // By default at once. The last is shorter than a round of the relay: rows are marked, and deleted when the house is kept.
    #[values(None, Some(Duration::ZERO), Some(Duration::from_micros(1)))] keep_published: Option<Duration>,
) {
    let config = Config {
        keep_published,
        ..fast()
    };
    let mut world = World::with(Kind::Postgres, config).await;
    world.relay();
    world.insert_many(FACT, "order_1", 0, 2_500).await;
    world.insert_many("order.unwanted", "order_2", 0, 1).await;
    eventually(LONG, || async {
        world.number("select count(*) from shop.outbox").await == 1
    })
    .await;
    world.halt().await;
}

#[tokio::test]
async fn a_relay_that_is_woken_does_not_wait_for_its_next_look() {
    let config = Config {
        longest_poll: Duration::from_secs(60),
        ..fast()
    };
    let mut world = World::with(Kind::Postgres, config).await;
    let wake = world.relay();
    // Long enough idle for its pauses to be longer than the test may take; a condition cannot show that.
    world.insert_many(FACT, "order_1", 0, 1).await;
    wake.now();
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    for n in 1..20 {
        world.insert_many(FACT, "order_1", n, 1).await;
        wake.now();
        eventually(Duration::from_secs(10), || async {
            world.unpublished().await == 0
        })
        .await;
    }
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_row_that_no_broker_would_take_holds_up_its_own_key_only(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    // Written by hand: the outbox would have refused it.
    sqlx::query("insert into shop.outbox (id, topic, key, data) values ($1, $2, 'bad', '{}')")
        .bind(Uuid::now_v7())
        .bind("x".repeat(300))
        .execute(world.database.admin())
        .await
        .unwrap();
    world.insert_many(FACT, "good", 0, 3).await;
    world.relay();
    eventually(LONG, || async { world.unpublished().await == 1 }).await;
    eventually(LONG, || async {
        world
            .number("select count(*) from shop.outbox where tries > 0")
            .await
            == 1
    })
    .await;
    world.halt().await;
}
