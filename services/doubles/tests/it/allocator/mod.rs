//! The allocator of devices, over both brokers.

mod faults;
mod world;

use doubles::allocator::State;
use rstest::rstest;
use serde_json::json;

use self::world::{Kind, World};

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_request_is_answered_with_a_device_and_with_what_its_asker_needs(#[case] kind: Kind) {
    let world = World::new(kind, 3).await;
    world.ask("order-1").await;
    let answers = world.answers("order-1", 1).await;
    assert_eq!(answers[0].topic, "device.allocated");
    assert_eq!(
        answers[0].data,
        json!({ "orderId": "order-1", "deviceId": "device-0001" })
    );
    assert_eq!(answers[0].attributes["completiontoken"], "token of order-1");
    assert_eq!(answers[0].attributes["sagastep"], "ALLOCATE_DEVICE");
    let books = world.allocator.books().await.unwrap();
    assert_eq!((books.devices, books.free), (3, 2));
    assert_eq!(books.allocations[0].user_id, "user-1");
}

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn an_order_that_asks_again_gets_the_same_answer_again(#[case] kind: Kind) {
    let world = World::new(kind, 1).await;
    for count in 1..=3 {
        world.ask("order-1").await;
        world.answers("order-1", count).await;
    }
    // Nothing is left for the next one, now and whenever it asks again.
    for count in 1..=2 {
        world.ask("order-2").await;
        world.answers("order-2", count).await;
    }
    let devices = world.answers("order-1", 3).await;
    assert!(devices.iter().all(|answer| answer.data == devices[0].data));
    let refusals = world.answers("order-2", 2).await;
    assert_eq!(refusals[0].topic, "device.allocate.failed");
    assert_eq!(refusals[0].data["reason"], "NO_DEVICE_FREE");
    assert_eq!(refusals[0].data, refusals[1].data);
    let books = world.allocator.books().await.unwrap();
    let requests: Vec<i32> = books.allocations.iter().map(|order| order.requests).collect();
    assert_eq!(requests, [3, 2]);
}

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_release_frees_the_device_once_and_for_good(#[case] kind: Kind) {
    let world = World::new(kind, 1).await;
    world.ask("order-1").await;
    world.answers("order-1", 1).await;
    for _ in 0..2 {
        world
            .publish(
                "device.release",
                &json!({ "orderId": "order-1", "userId": "user-1" }),
            )
            .await;
    }
    world.state("order-1", State::Released).await;
    // By its device alone, as somebody does who does not know the order.
    world.ask("order-2").await;
    let answers = world.answers("order-2", 1).await;
    assert_eq!(answers[0].data["deviceId"], "device-0001");
    world
        .publish("device.release", &json!({ "deviceId": "device-0001" }))
        .await;
    world.state("order-2", State::Released).await;
    // What was released gets nothing, however often it asks; those after it do.
    world.ask("order-1").await;
    world.ask("order-3").await;
    world.answers("order-3", 1).await;
    assert_eq!(world.allocator.books().await.unwrap().free, 0);
    world.applied(7).await;
    assert_eq!(world.answers("order-1", 1).await.len(), 1);
}

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_release_before_its_request_forbids_the_device(#[case] kind: Kind) {
    let world = World::new(kind, 1).await;
    let release = json!({ "orderId": "order-1", "deviceId": "", "userId": "user-1", "reason": "CANCELLED" });
    world.publish("device.release", &release).await;
    world.state("order-1", State::Released).await;
    world.ask("order-1").await;
    world.ask("order-2").await;
    world.answers("order-2", 1).await;
    world.applied(3).await;
    let books = world.allocator.books().await.unwrap();
    let first = &books.allocations[0];
    assert_eq!((first.state, &first.device_id), (State::Released, &None));
    assert!(world.answers("order-1", 0).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_meant_is_a_dead_letter_and_changes_nothing() {
    let world = World::new(Kind::Postgres, 2).await;
    world.ask("order-1").await;
    world.answers("order-1", 1).await;
    let before = world.allocator.books().await.unwrap();
    for (topic, data) in [
        ("device.allocate.requested", json!({ "userId": "user-1" })),
        (
            "device.allocate.requested",
            json!({ "orderId": "", "userId": "u" }),
        ),
        (
            "device.allocate.requested",
            json!({ "orderId": "order-1", "userId": "user-2", "planId": "plan-1" }),
        ),
        ("device.release", json!({ "userId": "user-1" })),
        (
            "device.release",
            json!({ "orderId": "order-1", "deviceId": "device-0002" }),
        ),
        (
            "device.release",
            json!({ "orderId": "order-1", "userId": "user-2" }),
        ),
        ("device.release", json!("order-1")),
    ] {
        world.publish(topic, &data).await;
    }
    let reasons = world.dead(7).await;
    for word in [
        "orderId",
        "was asked for before",
        "neither",
        "device-0002",
        "user-2",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(word)),
            "{word}: {reasons:?}"
        );
    }
    assert_eq!(world.allocator.books().await.unwrap(), before);
}

#[tokio::test]
async fn many_orders_at_once_never_share_a_device() {
    let world = World::new(Kind::Postgres, 20).await;
    // A second one on the same books.
    let other = world.another(20).await;
    for number in 0..30 {
        world.ask(&format!("order-{number}")).await;
    }
    let mut devices = std::collections::BTreeSet::new();
    let mut refused = 0;
    for number in 0..30 {
        let answer = world.answers(&format!("order-{number}"), 1).await.remove(0);
        match answer.data["deviceId"].as_str() {
            Some(device) => assert!(devices.insert(device.to_owned()), "{device} twice"),
            None => refused += 1,
        }
    }
    assert_eq!((devices.len(), refused), (20, 10));
    assert_eq!(other.books().await.unwrap().free, 0);
}

#[tokio::test]
async fn books_outlive_the_allocator_and_the_stock_can_change() {
    let mut world = World::new(Kind::Postgres, 2).await;
    world.ask("order-1").await;
    world.answers("order-1", 1).await;
    world.restart(1).await;
    let books = world.allocator.books().await.unwrap();
    assert_eq!((books.devices, books.free), (1, 0));
    world.ask("order-1").await;
    let answers = world.answers("order-1", 2).await;
    assert_eq!(answers[0].data, answers[1].data);
    world.restart(3).await;
    let books = world.allocator.books().await.unwrap();
    assert_eq!((books.devices, books.free), (3, 2));
    assert!(world.start(-1).await.is_err());
}
