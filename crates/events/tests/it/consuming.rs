//! From the broker, through the inbox, to the effect.

use std::sync::Arc;
use std::time::Duration;

use events::{Config, Event, HandlerError};
use futures::FutureExt;
use rstest::rstest;
use serde_json::json;
use test_support::eventually;
use tokio::sync::Semaphore;

use crate::world::{Calls, FACT, Kind, LONG, World, fast, patterns, record, retry};

#[rstest]
#[tokio::test]
async fn a_failing_handler_is_tried_again_and_leaves_nothing_behind(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    let calls = Calls::default();
    let counted = calls.clone();
    let consuming = world.consumer_with(&["order.*"], move |conn, received| {
        let calls = counted.clone();
        async move {
            record(conn, received).await?;
            match calls.add() {
                1 => retry("not yet"),
                2 => panic!("a defect"),
                _ => Ok(()),
            }
        }
        .boxed()
    });
    world.run(consuming.job);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 1).await;
    world.until_effects(1).await;
    assert_eq!((calls.get(), world.effects().await), (3, 1));
    assert!(world.letters().await.is_empty());
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn what_is_down_uses_up_no_attempt(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    let calls = Calls::default();
    let counted = calls.clone();
    let consuming = world.consumer_with(&["order.*"], move |conn, received| {
        let calls = counted.clone();
        async move {
            if calls.add() <= 10 {
                return Err(HandlerError::Unavailable("the engine sleeps".to_owned()));
            }
            record(conn, received).await
        }
        .boxed()
    });
    world.run(consuming.job);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 1).await;
    world.until_effects(1).await;
    assert_eq!(calls.get(), 11);
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_handler_that_swallows_a_broken_statement_has_not_succeeded(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    let consuming = world.consumer_with(&["order.*"], |conn, _| {
        async move {
            // The transaction is broken from here on; its commit would be a rollback.
            let _ = sqlx::query("select 1 / 0").execute(conn).await;
            Ok(())
        }
        .boxed()
    });
    world.run(consuming.job);
    world.keep();
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 1).await;
    let letters = world.until_letters(1).await;
    assert!(letters[0].reason.contains("3 attempts"), "{}", letters[0].reason);
    assert_eq!(world.number("select count(*) from shop.inbox").await, 0);
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_consumer_that_crashes_gets_its_messages_again_and_applies_them_once(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    let calls = Calls::default();
    let counted = calls.clone();
    let consuming = world.consumer_with(&["order.*"], move |conn, received| {
        let calls = counted.clone();
        async move {
            // Half are applied, the other half never come to an end.
            if calls.add() % 2 == 0 {
                std::future::pending::<()>().await;
            }
            record(conn, received).await
        }
        .boxed()
    });
    world.run(consuming.job);
    world.relay();
    for n in 0..8 {
        world
            .insert_many("order.placed", &format!("order_{n}"), n, 1)
            .await;
    }
    // Four handlers at once, so that at least one has hung and one has been applied by now.
    eventually(LONG, || async { calls.get() >= 4 && world.effects().await >= 1 }).await;
    world.crash().await;
    world.consume(&["order.*"]);
    world.relay();
    world.until_effects(8).await;
    assert_eq!(
        world
            .number("select count(distinct event_id) from shop.effect")
            .await,
        8
    );
    assert_eq!(world.effects().await, 8);
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_consumer_that_is_stopped_gives_back_what_it_has_not_applied(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let config = Config {
        // What is not given back would come after the test.
        visibility: Duration::from_secs(300),
        longest_pause: Duration::from_secs(300),
        first_pause: Duration::from_secs(300),
        ..fast()
    };
    let mut world = World::with(kind, config).await;
    let calls = Calls::default();
    let counted = calls.clone();
    let consuming = world.consumer_with(&["order.*"], move |_, _| {
        counted.add();
        async move { retry("later") }.boxed()
    });
    world.run(consuming.job);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 5).await;
    eventually(LONG, || async { calls.get() == 1 }).await;
    world.halt().await;
    world.consume(&["order.*"]);
    world.until_effects(5).await;
    assert_eq!(
        world
            .numbers("select (data ->> 'n')::int8 from shop.effect order by data ->> 'n'")
            .await,
        [0, 1, 2, 3, 4]
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_message_that_waits_does_not_hold_up_other_keys(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let config = Config {
        concurrency: 1,
        attempts: 1_000,
        ..fast()
    };
    let mut world = World::with(kind, config).await;
    let gate = Arc::new(Semaphore::new(0));
    let shut = Arc::clone(&gate);
    let consuming = world.consumer_with(&["order.*"], move |conn, received| {
        let shut = Arc::clone(&shut);
        async move {
            if received.key.as_deref() == Some("stuck") && shut.available_permits() == 0 {
                return retry("stuck");
            }
            record(conn, received).await
        }
        .boxed()
    });
    world.run(consuming.job);
    world.relay();
    world.insert_many("order.placed", "stuck", 0, 3).await;
    for n in 0..20 {
        world.insert_many("order.placed", &format!("key_{n}"), n, 1).await;
    }
    world.until_effects(20).await;
    assert_eq!(
        world
            .number("select count(*) from shop.effect where key = 'stuck'")
            .await,
        0
    );
    gate.add_permits(1);
    world.until_effects(23).await;
    assert_eq!(
        world
            .numbers("select (data ->> 'n')::int8 from shop.effect where key = 'stuck' order by place")
            .await,
        [0, 1, 2]
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_consumer_holds_no_more_than_its_bounds(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let config = Config {
        prefetch: 10,
        concurrency: 3,
        ..fast()
    };
    let mut world = World::with(kind, config).await;
    let gate = Arc::new(Semaphore::new(0));
    let inside = Calls::default();
    let (shut, counted) = (Arc::clone(&gate), inside.clone());
    let consuming = world.consumer_with(&["order.*"], move |conn, received| {
        let (shut, counted) = (Arc::clone(&shut), counted.clone());
        async move {
            counted.add();
            shut.acquire().await.expect("never closed").forget();
            record(conn, received).await
        }
        .boxed()
    });
    world.run(consuming.job);
    world.relay();
    for n in 0..50 {
        world.insert_many("order.placed", &format!("key_{n}"), n, 1).await;
    }
    eventually(LONG, || async {
        world.unpublished().await == 0 && inside.get() == 3
    })
    .await;
    if kind == Kind::Postgres {
        eventually(LONG, || async {
            world
                .number("select count(*) from events.message where holder is not null")
                .await
                == 10
        })
        .await;
    }
    assert_eq!(inside.get(), 3);
    gate.add_permits(50);
    world.until_effects(50).await;
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn what_a_queue_takes_can_be_changed_while_it_runs(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    let bindings = world.consume(&["order.placed"]);
    world.relay();
    world.insert_many("order.placed", "a", 0, 1).await;
    world.until_effects(1).await;
    world.insert_many("device.allocated", "b", 1, 1).await;
    eventually(LONG, || async {
        world
            .number("select count(*) from shop.outbox where tries > 0")
            .await
            == 1
    })
    .await;
    bindings.set(patterns(&["device.allocated"]));
    world.until_effects(2).await;
    // The first pattern is not wanted any more, so nobody takes it.
    eventually(LONG, || async {
        world.insert_many("order.placed", "c", 2, 1).await;
        let refused = "select count(*) from shop.outbox where topic = 'order.placed' and tries > 0";
        world.number(refused).await > 0
    })
    .await;
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn each_queue_gets_every_message_once_although_two_patterns_select_it(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    let first = world.consume(&["order.*", "order.#", "shop.probe"]);
    assert_eq!(first.get().len(), 3);
    world.until_bound().await;
    let consumer = events::Consumer {
        queue: "shop.audit",
        bindings: patterns(&["#"]),
        schema: "shop",
        pool: world.pool.clone(),
    };
    let audit = world
        .broker
        .consumer(consumer, |conn, received| record(conn, received).boxed())
        .unwrap();
    world.run(audit.job);
    world.relay();
    // The second queue begins to take messages at some moment; from then on both have everything.
    eventually(LONG, || async {
        world.insert_many(FACT, "a", 0, 1).await;
        world
            .number("select count(*) from shop.inbox where consumer = 'shop.audit'")
            .await
            > 0
    })
    .await;
    let event = Event::new("order.placed", "b", json!({}));
    world.insert(&event).await;
    let both = "select count(*) from shop.effect where topic = 'order.placed'";
    eventually(LONG, || async { world.number(both).await == 2 }).await;
    world.halt().await;
    assert_eq!(world.number(both).await, 2);
}
