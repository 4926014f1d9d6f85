//! The allocator while it misbehaves.

use std::time::Instant;

use doubles::allocator::{Behaviour, Books, Operation, Rule, State};
use rstest::rstest;
use serde_json::json;

use super::world::{Kind, World};

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn an_answer_may_be_lost_or_never_given_until_it_is_asked_again(#[case] kind: Kind) {
    let world = World::new(kind, 5).await;
    world.allocator.program(vec![
        Rule::once(Operation::Allocate, Behaviour::Lose).order("lost"),
        Rule::once(Operation::Allocate, Behaviour::Ignore).order("ignored"),
    ]);
    world.ask("lost").await;
    world.ask("ignored").await;
    world.applied(2).await;
    let books = world.allocator.books().await.unwrap();
    assert_eq!((books.free, books.allocations.len()), (4, 1));
    assert_eq!(books.allocations[0].state, State::Allocated);
    for order in ["lost", "ignored"] {
        world.ask(order).await;
        assert_eq!(world.answers(order, 1).await.len(), 1);
    }
    assert_eq!(world.allocator.books().await.unwrap().free, 3);
}

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn an_answer_may_come_late_and_does_not_hold_up_the_next(#[case] kind: Kind) {
    let world = World::new(kind, 5).await;
    let late = Rule::once(Operation::Allocate, Behaviour::Answer).delay_ms(1_500);
    world.allocator.program(vec![late]);
    let begun = Instant::now();
    world.ask("order-1").await;
    world.applied(1).await;
    world.ask("order-1").await;
    world.answers("order-1", 1).await;
    let second = begun.elapsed();
    world.answers("order-1", 2).await;
    let both = begun.elapsed();
    assert!(both.as_millis() >= 1_500, "{both:?}");
    assert!(second < both, "{second:?} {both:?}");
}

#[rstest]
#[case::rabbitmq(Kind::Rabbit)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_request_may_be_answered_several_times_or_refused(#[case] kind: Kind) {
    let world = World::new(kind, 5).await;
    world.allocator.program(vec![
        Rule::once(Operation::Allocate, Behaviour::Duplicate(3)).order("twice"),
        Rule::times(
            2,
            Operation::Allocate,
            Behaviour::Refuse {
                reason: "OUT_OF_STOCK".to_owned(),
                message: "none today".to_owned(),
            },
        ),
    ]);
    world.ask("twice").await;
    let answers = world.answers("twice", 3).await;
    assert!(answers.iter().all(|answer| answer.data == answers[0].data));
    world.ask("refused").await;
    let refused = world.answers("refused", 1).await;
    assert_eq!(refused[0].topic, "device.allocate.failed");
    assert_eq!(
        refused[0].data,
        json!({ "orderId": "refused", "reason": "OUT_OF_STOCK", "message": "none today" })
    );
    // What has a device keeps it, whatever the programme says.
    world.ask("twice").await;
    let answers = world.answers("twice", 4).await;
    assert_eq!(answers[3].topic, "device.allocated");
    // A definite no stays one, when the programme is used up, too.
    world.ask("refused").await;
    let again = world.answers("refused", 2).await;
    assert_eq!(again[0].data, again[1].data);
}

#[tokio::test]
async fn a_release_may_be_lost() {
    let world = World::new(Kind::Postgres, 1).await;
    world
        .allocator
        .program(vec![Rule::once(Operation::Release, Behaviour::Ignore)]);
    world.ask("order-1").await;
    world.answers("order-1", 1).await;
    let release = json!({ "orderId": "order-1" });
    world.publish("device.release", &release).await;
    world.applied(2).await;
    assert_eq!(world.allocator.books().await.unwrap().free, 0);
    world.publish("device.release", &release).await;
    world.state("order-1", State::Released).await;
    assert_eq!(world.allocator.books().await.unwrap().free, 1);
}

#[tokio::test]
async fn programme_and_books_are_reachable_over_http() {
    let mut world = World::new(Kind::Postgres, 1).await;
    let addr = world.allocator.listen("127.0.0.1:0").await.unwrap();
    let client = reqwest::Client::new();
    let url = format!("http://{addr}/_program");
    let wrong = json!([{ "on": "release", "do": "lose" }]);
    let answer = client.put(&url).json(&wrong).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("rule 0"));
    let rules = json!([{ "on": "allocate", "times": 1, "do": { "duplicate": 2 } }]);
    assert_eq!(client.put(&url).json(&rules).send().await.unwrap().status(), 204);
    world.ask("order-1").await;
    world.answers("order-1", 2).await;
    let left: Vec<Rule> = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(left[0].times, Some(0));
    let url = format!("http://{addr}/_books");
    let books: Books = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(books, world.allocator.books().await.unwrap());
}
