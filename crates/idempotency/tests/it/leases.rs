//! Who may run a request, when things go wrong.

use std::time::Duration;

use idempotency::{Answer, Begin, Config, Fingerprint, Key, Lease, Scope};
use test_support::eventually;
use tokio::time::Instant;

use crate::world::{Kind, LONG, World, order, request, send};

fn short() -> Config {
    Config {
        lease: Duration::from_secs(1),
        ..Config::default()
    }
}

async fn begin(world: &World) -> Begin {
    let (scope, key) = (Scope("user_1".to_owned()), Key::parse(b"key-1").unwrap());
    let fingerprint = Fingerprint::of(&[b"request"]);
    world
        .store
        .begin(&scope, "test", &key, fingerprint)
        .await
        .unwrap()
}

async fn begun(world: &World) -> Lease {
    match begin(world).await {
        Begin::Begun(lease) => lease,
        other @ (Begin::InFlight | Begin::Replay(_) | Begin::Mismatch) => {
            panic!("the key is not free: {other:?}")
        }
    }
}

/// Takes the key when the lease of its owner has ended, which does not know it yet, or was given up; well before a lease of
/// the default length ends by itself.
async fn inherited(world: &World) -> Lease {
    eventually(LONG / 3, || async {
        match begin(world).await {
            Begin::Begun(lease) => Ok(lease),
            other @ (Begin::InFlight | Begin::Replay(_) | Begin::Mismatch) => Err(other),
        }
    })
    .await
}

fn answer(text: &'static str) -> Answer {
    Answer::new(200, Vec::new(), text)
}

async fn is_replayed(world: &World, text: &'static str) -> bool {
    matches!(begin(world).await, Begin::Replay(found) if found == answer(text))
}

#[rstest::rstest]
#[tokio::test]
async fn a_zombie_changes_nothing_that_its_heir_wrote(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::with(kind, short()).await;
    let zombie = begun(&world).await;
    let heir = inherited(&world).await;
    assert!(!zombie.renew().await.unwrap());
    assert!(heir.renew().await.unwrap());
    assert!(heir.finish(&answer("heir")).await.unwrap());
    assert!(!zombie.finish(&answer("zombie")).await.unwrap());
    assert!(is_replayed(&world, "heir").await);
}

#[rstest::rstest]
#[tokio::test]
async fn a_zombie_does_not_finish_or_free_what_its_heir_runs(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::with(kind, short()).await;
    let (first, second) = (begun(&world).await, inherited(&world).await);
    let third = inherited(&world).await;
    assert!(!first.finish(&answer("zombie")).await.unwrap());
    second.release().await.unwrap();
    assert!(matches!(begin(&world).await, Begin::InFlight));
    assert!(third.finish(&answer("third")).await.unwrap());
    assert!(is_replayed(&world, "third").await);
}

#[rstest::rstest]
#[tokio::test]
async fn a_flushed_store_gets_the_lease_or_the_answer_back(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let lease = begun(&world).await;
    world.flush().await;
    assert!(lease.renew().await.unwrap());
    assert!(matches!(begin(&world).await, Begin::InFlight));
    world.flush().await;
    assert!(lease.finish(&answer("done")).await.unwrap());
    assert!(is_replayed(&world, "done").await);
}

#[rstest::rstest]
#[tokio::test]
async fn a_lease_is_renewed_as_long_as_its_request_runs(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::with(kind, short()).await;
    world.close();
    let first = tokio::spawn(send(world.app.clone(), order("key-1")));
    eventually(LONG, || async { world.shop.runs() == 1 }).await;
    let since = Instant::now();
    eventually(LONG, || async {
        let again = world.send(order("key-1")).await;
        assert_eq!(again.status, 409, "{again:?}");
        since.elapsed() > short().lease * 3
    })
    .await;
    world.open();
    assert_eq!(first.await.unwrap().status, 201);
    assert_eq!(world.shop.runs(), 1);
}

#[rstest::rstest]
#[tokio::test]
async fn a_handler_that_panics_frees_its_key(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let dies = || request("POST", "/panic", &["key-1"], "");
    let first = tokio::spawn(send(world.app.clone(), dies())).await;
    assert!(first.unwrap_err().is_panic(), "whoever catches panics sees it");
    let alive = eventually(LONG / 3, || async {
        let answer = world.send(dies()).await;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    assert_eq!(alive.body, "alive");
    assert_eq!(world.shop.runs(), 2);
}

#[rstest::rstest]
#[tokio::test]
async fn a_request_whose_client_has_gone_is_run_to_its_end(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    world.close();
    let client = tokio::spawn(send(world.app.clone(), order("key-1")));
    eventually(LONG, || async { world.shop.runs() == 1 }).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert_eq!(world.send(order("key-1")).await.status, 409);
    world.open();
    let answer = eventually(LONG, || async {
        let answer = world.send(order("key-1")).await;
        if answer.status == 201 {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    assert!(answer.is_replayed());
    assert_eq!(world.shop.runs(), 1);
}

/// Nobody hears that the key was taken.
#[rstest::rstest]
#[tokio::test]
async fn a_lease_that_nobody_holds_is_given_up(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    drop(begun(&world).await);
    drop(inherited(&world).await);
}
