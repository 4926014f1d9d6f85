//! Plain values.

use std::time::Duration;

use futures::future::join_all;
use kv::{Error, MAX_VALUE_BYTES};
use test_support::eventually;

use crate::world::{Kind, LONG, MINUTE, SHORT, World, key};

#[rstest::rstest]
#[tokio::test]
async fn a_value_is_read_replaced_and_removed(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("a"));
    assert_eq!(kv.get(&key).await.unwrap(), None);
    assert!(!kv.remove(&key).await.unwrap());

    let odd = [0, 255, b' ', 0];
    kv.put(&key, &odd, MINUTE).await.unwrap();
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), &odd[..]);
    kv.put(&key, b"", MINUTE).await.unwrap();
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), "");

    assert!(!kv.put_if_absent(&key, b"second", MINUTE).await.unwrap());
    assert!(!kv.replace(&key, b"other", b"new", MINUTE).await.unwrap());
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), "");
    assert!(kv.replace(&key, b"", b"new", MINUTE).await.unwrap());
    assert!(!kv.remove_if(&key, b"").await.unwrap());
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), "new");
    assert!(kv.remove_if(&key, b"new").await.unwrap());
    assert!(!kv.remove_if(&key, b"new").await.unwrap());
    assert!(kv.put_if_absent(&key, b"first", MINUTE).await.unwrap());
    assert!(kv.remove(&key).await.unwrap());
    assert_eq!(kv.get(&key).await.unwrap(), None);
}

#[rstest::rstest]
#[tokio::test]
async fn a_value_that_has_ended_is_absent_for_every_operation(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let kv = &world.kv;
    let ended = key("ended");
    let write = || async { kv.put(&ended, b"v", SHORT).await.unwrap() };
    let gone = || eventually(LONG, || async { kv.get(&ended).await.unwrap().is_none() });

    write().await;
    gone().await;
    assert!(!kv.remove(&ended).await.unwrap());
    write().await;
    gone().await;
    assert_eq!(kv.take(&ended).await.unwrap(), None);
    write().await;
    gone().await;
    assert!(!kv.replace(&ended, b"v", b"w", MINUTE).await.unwrap());
    assert!(!kv.remove_if(&ended, b"v").await.unwrap());
    assert!(kv.put_if_absent(&ended, b"next", MINUTE).await.unwrap());
    assert_eq!(kv.get(&ended).await.unwrap().unwrap(), "next");
}

#[rstest::rstest]
#[tokio::test]
async fn a_replaced_value_lives_as_long_as_the_new_one(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("a"));
    kv.put(&key, b"old", MINUTE).await.unwrap();
    assert!(kv.replace(&key, b"old", b"new", SHORT).await.unwrap());
    eventually(LONG, || async { kv.get(&key).await.unwrap().is_none() }).await;
}

#[rstest::rstest]
#[tokio::test]
async fn of_many_who_write_if_absent_one_does(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("lease"));
    let tries = (0..100).map(|n: u32| {
        let key = &key;
        async move {
            kv.put_if_absent(key, n.to_string().as_bytes(), MINUTE)
                .await
                .unwrap()
        }
    });
    let won: Vec<bool> = join_all(tries).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).unwrap();
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), winner.to_string());
}

#[rstest::rstest]
#[tokio::test]
async fn of_many_who_write_in_the_place_of_an_ended_value_one_does(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("lease"));
    kv.put(&key, b"dead owner", SHORT).await.unwrap();
    eventually(LONG, || async { kv.get(&key).await.unwrap().is_none() }).await;
    let won = join_all((0..100).map(|_| kv.put_if_absent(&key, b"heir", MINUTE))).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
}

#[rstest::rstest]
#[tokio::test]
async fn of_many_who_take_or_replace_one_does(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("ticket"));
    kv.put(&key, b"user_1", MINUTE).await.unwrap();
    let taken = join_all((0..100).map(|_| kv.take(&key))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, ["user_1"]);

    kv.put(&key, b"0", MINUTE).await.unwrap();
    let replaced = join_all((0..100).map(|_| kv.replace(&key, b"0", b"1", MINUTE))).await;
    assert_eq!(
        replaced.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
        1
    );
}

#[rstest::rstest]
#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_the_largest_is_kept(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("large"));
    let mut value = vec![b'x'; MAX_VALUE_BYTES];
    kv.put(&key, &value, MINUTE).await.unwrap();
    assert_eq!(kv.get(&key).await.unwrap().unwrap().len(), MAX_VALUE_BYTES);
    value.push(b'x');
    let refused = [
        kv.put(&key, &value, MINUTE).await,
        kv.put_if_absent(&key, &value, MINUTE).await.map(drop),
        kv.replace(&key, b"", &value, MINUTE).await.map(drop),
        kv.put_newer(&key, 1, Some(&value), MINUTE).await.map(drop),
    ];
    for result in refused {
        assert!(matches!(result, Err(Error::Bounds(_))), "{result:?}");
    }
}

#[rstest::rstest]
#[tokio::test]
async fn the_longest_key_is_kept(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let long = kv::Key::new("test", &[&"x".repeat(80), &"y".repeat(112)]);
    assert_eq!(long.as_str().len(), kv::MAX_KEY_BYTES);
    world.kv.put(&long, b"v", MINUTE).await.unwrap();
    assert_eq!(world.kv.get(&long).await.unwrap().unwrap(), "v");
    // One that is longer is another one, and not longer in the store.
    let other = kv::Key::new("test", &[&"x".repeat(80), &"y".repeat(113)]);
    assert_eq!(world.kv.get(&other).await.unwrap(), None);
}

#[tokio::test]
async fn the_sweep_deletes_what_has_ended_and_nothing_else() {
    let world = World::new(Kind::Postgres).await;
    let kv = &world.kv;
    // More than two batches, and what must stay.
    sqlx::query(
        "insert into kv.entry (key, value, expires_at)
         select 'old:' || n, 'v', clock_timestamp() - interval '1 s' from generate_series(1, 2500) n",
    )
    .execute(world.database().admin())
    .await
    .unwrap();
    kv.put(&key("lives"), b"v", MINUTE).await.unwrap();
    kv.add(&key("for-ever"), 1, None).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let job = kv.sweeper();
    assert_eq!(job.name, "kv.sweep");
    let running = tokio::spawn((job.run)(stop.clone()));
    let rows = || async {
        let rows = sqlx::query_scalar::<_, i64>("select count(*) from kv.entry");
        rows.fetch_one(world.database().admin()).await.unwrap()
    };
    eventually(LONG, || async { rows().await == 2 }).await;
    stop.cancel();
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
    assert_eq!(kv.get(&key("for-ever")).await.unwrap().unwrap(), "1");
    assert_eq!(kv.get(&key("lives")).await.unwrap().unwrap(), "v");
}

#[rstest::rstest]
#[tokio::test]
async fn a_flushed_store_is_an_empty_one(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    world
        .kv
        .put(&key("a"), b"v", Duration::from_secs(600))
        .await
        .unwrap();
    // Scripts are gone as well after a restart; they are sent again.
    world.kv.replace(&key("a"), b"v", b"w", MINUTE).await.unwrap();
    world.flush().await;
    assert_eq!(world.kv.get(&key("a")).await.unwrap(), None);
    assert!(world.kv.put_if_absent(&key("a"), b"v", MINUTE).await.unwrap());
    assert!(world.kv.replace(&key("a"), b"v", b"w", MINUTE).await.unwrap());
}
