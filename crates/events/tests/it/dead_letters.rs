//! What cannot be applied, and what people do about it.

use events::dead::{self, Filter};
use events::{Event, HandlerError};
use futures::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use rstest::rstest;
use serde_json::json;
use test_support::eventually;
use uuid::Uuid;

use crate::world::{Kind, LONG, QUEUE, World};

/// Puts bytes into the queue as a foreign publisher does.
async fn smuggle(world: &World, body: &[u8]) {
    if world.broker.kind() == "postgres" {
        sqlx::query("insert into events.message (queue, topic, body) values ($1, 'order.placed', $2)")
            .bind(QUEUE)
            .bind(body)
            .execute(world.database.admin())
            .await
            .unwrap();
        return;
    }
    let connection = Connection::connect(&world.config.amqp_url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish("".into(), QUEUE.into(), options, body, BasicProperties::default())
        .await
        .unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_read_is_kept_with_the_reason(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    world.consume(&["order.*", "shop.probe"]);
    world.keep();
    world.until_bound().await;
    let bodies: [&[u8]; 4] = [b"", b"\xff\0", b"{\"specversion\":\"1.0\"}", b"[1]"];
    for body in bodies {
        smuggle(&world, body).await;
    }
    let letters = world.until_letters(4).await;
    for letter in &letters {
        assert!(
            letter.reason.starts_with("it cannot be read: "),
            "{}",
            letter.reason
        );
        assert!(bodies.contains(&letter.body.as_slice()));
        assert_eq!((letter.queue.as_str(), letter.topic.as_deref()), (QUEUE, None));
    }
    // The same bytes again are the same letter.
    smuggle(&world, b"[1]").await;
    eventually(LONG, || async {
        world.number("select sum(deaths) from events.dead_letter").await == 5
    })
    .await;
    assert_eq!(world.letters().await.len(), 4);
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_letter_is_sent_back_once_its_cause_is_mended(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    let consuming = world.consumer_with(&["order.*"], |_, received| {
        async move { Err(HandlerError::Dead(format!("no order {}", received.data["n"]))) }.boxed()
    });
    world.run(consuming.job);
    world.keep();
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 3).await;
    let letters = world.until_letters(3).await;
    assert_eq!(letters[0].topic.as_deref(), Some("order.placed"));
    assert_eq!(letters[0].key.as_deref(), Some("order_1"));
    assert!(
        letters.iter().any(|letter| letter.reason == "no order 2"),
        "{letters:?}"
    );
    assert_eq!(world.unpublished().await, 0);
    world.halt().await;

    world.consume(&["order.*"]);
    world.keep();
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let mut conn = world.database.admin().acquire().await.unwrap();
    assert_eq!(
        dead::replay(&mut conn, &ids[..2], "ann", "mended").await.unwrap(),
        ids[..2]
    );
    // Asked twice, and for one that does not exist.
    dead::replay(&mut conn, &[ids[0], Uuid::nil()], "bob", "")
        .await
        .unwrap();
    world.until_effects(2).await;
    let left = world.until_letters(1).await;
    assert_eq!(left[0].id, ids[2]);
    let acts = dead::acts(&mut *conn, ids[0]).await.unwrap();
    assert_eq!(
        (
            acts[0].actor.as_str(),
            acts[0].action.as_str(),
            acts[0].note.as_str()
        ),
        ("ann", "replay", "mended")
    );

    assert_eq!(
        dead::discard(&mut conn, &ids, "ann", "a test order")
            .await
            .unwrap(),
        [ids[2]]
    );
    assert!(world.letters().await.is_empty());
    assert_eq!(dead::acts(&mut *conn, ids[2]).await.unwrap()[0].action, "drop");
    assert_eq!(
        world
            .number("select count(*) from events.dead_letter_audit where body is not null")
            .await,
        1
    );
    world.halt().await;
}

#[rstest]
#[tokio::test]
async fn a_letter_that_was_applied_after_all_is_not_applied_again(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    world.consume(&["order.*", "shop.probe"]);
    world.keep();
    world.relay();
    world.until_bound().await;
    let event = Event::new("order.placed", "order_1", json!({}));
    world.insert(&event).await;
    world.until_effects(2).await;
    let body = events::encode(&event, "/evenkeel/shop", chrono::Utc::now());
    sqlx::query(
        "insert into events.dead_letter (id, queue, fingerprint, reason, deliveries, body)
         values ($1, $2, 'x', 'acknowledged too late', 1, $3)",
    )
    .bind(Uuid::now_v7())
    .bind(QUEUE)
    .bind(body)
    .execute(world.database.admin())
    .await
    .unwrap();
    let ids = [world.letters().await[0].id];
    let mut conn = world.database.admin().acquire().await.unwrap();
    dead::replay(&mut conn, &ids, "ann", "").await.unwrap();
    world.until_letters(0).await;
    // What comes after it has been applied, so it has been looked at.
    world.insert_many("order.placed", "order_1", 1, 1).await;
    world.until_effects(3).await;
    world.halt().await;
    assert_eq!(world.effects().await, 3);
}

#[rstest]
#[tokio::test]
async fn a_message_that_ends_its_consumer_each_time_dies_in_the_end(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    // Declared, and given back without a word as often as it is delivered.
    let consuming = world.consumer_with(&["order.*"], |_, _| {
        async { std::future::pending().await }.boxed()
    });
    world.run(consuming.job);
    world.relay();
    world.insert_many("order.placed", "order_1", 0, 1).await;
    world.keep();
    match kind {
        Kind::Postgres => {
            eventually(LONG, || async {
                world.number("select count(*) from events.message").await == 1
            })
            .await;
            world.crash().await;
            sqlx::query("update events.message set deliveries = 20, visible_at = now()")
                .execute(world.database.admin())
                .await
                .unwrap();
            world.consume(&["order.*"]);
        }
        Kind::Rabbit => {
            eventually(LONG, || async { world.unpublished().await == 0 }).await;
            world.crash().await;
            give_back_until_gone(&world).await;
            world.keep();
        }
    }
    let letters = world.until_letters(1).await;
    assert!(letters[0].reason.contains("gave up"), "{}", letters[0].reason);
    assert_eq!(letters[0].queue, QUEUE);
    assert_eq!(world.effects().await, 0);
    world.halt().await;
}

/// Takes the only message of the queue and puts it back until the broker has had enough.
async fn give_back_until_gone(world: &World) {
    let connection = Connection::connect(&world.config.amqp_url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut times = 0;
    eventually(LONG, || {
        let channel = &channel;
        times += 1;
        async move {
            if let Some(message) = channel
                .basic_get(QUEUE.into(), lapin::options::BasicGetOptions::default())
                .await
                .unwrap()
            {
                let requeue = lapin::options::BasicNackOptions {
                    requeue: true,
                    ..lapin::options::BasicNackOptions::default()
                };
                message.delivery.acker.nack(requeue).await.unwrap();
            }
            times > 60
        }
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_letter_whose_queue_is_gone_stays_and_says_so(#[values(Kind::Rabbit, Kind::Postgres)] kind: Kind) {
    let mut world = World::new(kind).await;
    sqlx::query(
        "insert into events.dead_letter (id, queue, fingerprint, reason, deliveries, body, replay_at)
         values ($1, 'shop.closed', 'x', 'why', 1, '{}', now())",
    )
    .bind(Uuid::now_v7())
    .execute(world.database.admin())
    .await
    .unwrap();
    world.keep();
    eventually(LONG, || async { world.letters().await[0].replay_at.is_none() }).await;
    let letters = world.letters().await;
    assert!(
        letters[0].reason.contains("queue is gone") && letters[0].reason.ends_with("why"),
        "{}",
        letters[0].reason
    );
    world.halt().await;
}

#[tokio::test]
async fn letters_are_listed_page_by_page_and_queue_by_queue() {
    let world = World::new(Kind::Postgres).await;
    for (n, queue) in ["a", "b", "a", "a"].into_iter().enumerate() {
        sqlx::query(
            "insert into events.dead_letter (id, queue, fingerprint, reason, deliveries, body)
             values ($1, $2, $3, 'why', 1, '')",
        )
        .bind(Uuid::now_v7())
        .bind(queue)
        .bind(vec![u8::try_from(n).unwrap()])
        .execute(world.database.admin())
        .await
        .unwrap();
    }
    let mut filter = Filter {
        queue: Some("a".to_owned()),
        after: None,
    };
    let mut seen = Vec::new();
    loop {
        let page = dead::list(world.database.admin(), &filter, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        seen.extend(page.into_iter().map(|letter| letter.id));
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.is_sorted());
    let found = dead::find(world.database.admin(), seen[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.queue, "a");
    assert!(
        dead::find(world.database.admin(), Uuid::nil())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_audit_cannot_be_changed_and_a_drop_needs_a_reason() {
    let world = World::new(Kind::Postgres).await;
    sqlx::query(
        "insert into events.dead_letter (id, queue, fingerprint, reason, deliveries, body)
         values ($1, 'a', 'x', 'why', 1, 'body')",
    )
    .bind(Uuid::now_v7())
    .execute(world.database.admin())
    .await
    .unwrap();
    let ids = [world.letters().await[0].id];
    let mut conn = world.database.admin().acquire().await.unwrap();
    assert!(dead::discard(&mut conn, &ids, "ann", "").await.is_err());
    assert!(dead::discard(&mut conn, &ids, "", "why").await.is_err());
    assert_eq!(world.letters().await.len(), 1);
    dead::discard(&mut conn, &ids, "ann", "why").await.unwrap();
    for sql in [
        "update events.dead_letter_audit set actor = 'eve'",
        "delete from events.dead_letter_audit",
    ] {
        let error = sqlx::query(sql).execute(&mut *conn).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}
