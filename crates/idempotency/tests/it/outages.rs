//! A store of keys that is lost while requests run.

use test_support::eventually;

use crate::world::{LONG, World, order, send};

#[tokio::test]
async fn nothing_is_run_without_the_store_and_what_ran_is_not_doubled() {
    let mut world = World::on_private_redis().await;
    world.close();
    let first = tokio::spawn(send(world.app.clone(), order("key-1")));
    eventually(LONG, || async { world.shop.runs() == 1 }).await;
    world.redis().kill().await;

    // Lost before the effect: nothing is run, and the client is told to repeat.
    let refused = world.send(order("key-2")).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (503, "IDEMPOTENCY_UNAVAILABLE")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(world.shop.runs(), 1);

    // Lost after the key was taken: the effect happens, and the answer is given.
    world.open();
    let first = first.await.unwrap();
    assert_eq!(first.status, 201);
    assert_eq!(world.send(order("key-1")).await.status, 503);

    // Back, and empty: a repetition runs, and the database knows the request.
    world.redis().restart().await;
    let again = eventually(LONG, || async {
        let answer = world.send(order("key-1")).await;
        if answer.status == 201 {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    assert_eq!(again.body, first.body);
    assert!(!again.is_replayed());
    assert!(world.send(order("key-1")).await.is_replayed());
    assert_eq!(world.effects().await, 1);
    assert_eq!(world.send(order("key-2")).await.status, 201);
    assert_eq!(world.effects().await, 2);
}

#[tokio::test]
async fn a_store_that_hangs_refuses_in_time_and_leaves_no_key_taken() {
    let mut world = World::on_private_redis().await;
    assert_eq!(world.send(order("key-1")).await.status, 201);
    world.redis().pause();
    let refused = world.send(order("key-2")).await;
    assert_eq!(
        (refused.status, refused.reason()),
        (503, "IDEMPOTENCY_UNAVAILABLE")
    );
    assert_eq!(world.shop.runs(), 1);
    world.redis().resume();
    // The key may have been taken by the one who was refused; it is given up long before its lease ends.
    eventually(LONG / 3, || async {
        world.send(order("key-2")).await.status == 201
    })
    .await;
    assert!(world.send(order("key-1")).await.is_replayed());
    assert_eq!(world.shop.runs(), 2);
}
