//! Counters and windows.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use kv::{Error, Hit, Key, Limit, MAX_LIMITS};
use test_support::eventually;

use crate::world::{Kind, LONG, MINUTE, SHORT, World, key};

fn limit(name: &str, max: u32, window: Duration) -> Limit {
    Limit {
        key: Key::new("rate", &["test", name]),
        max,
        window,
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_counter_adds_exactly_up_to_64_bits(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("epoch"));
    assert_eq!(kv.add(&key, -3, None).await.unwrap(), -3);
    assert_eq!(kv.add(&key, 4, None).await.unwrap(), 1);
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), "1");
    // Beyond the 53 bits of a script's numbers.
    assert_eq!(kv.add(&key, i64::MAX - 1, None).await.unwrap(), i64::MAX);
    let over = kv.add(&key, 1, None).await;
    assert!(matches!(over, Err(Error::Corrupt { family: "test" })), "{over:?}");
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), i64::MAX.to_string());
}

#[rstest::rstest]
#[tokio::test]
async fn no_addition_is_lost(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("epoch"));
    let sums = join_all((0..100).map(|_| kv.add(&key, 1, Some(MINUTE)))).await;
    let sums: HashSet<i64> = sums.into_iter().map(Result::unwrap).collect();
    assert_eq!(sums, (1..=100).collect());
}

#[rstest::rstest]
#[tokio::test]
async fn a_counter_ends_after_its_first_addition_and_not_its_last(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("tries"));
    kv.add(&key, 100, Some(SHORT)).await.unwrap();
    // Would never end if additions prolonged it.
    eventually(LONG, || async {
        kv.add(&key, 1, Some(MINUTE)).await.unwrap() < 100
    })
    .await;
}

#[rstest::rstest]
#[tokio::test]
async fn adding_to_what_is_no_counter_changes_nothing(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("a"));
    kv.put(&key, b"user_1\xff", MINUTE).await.unwrap();
    let result = kv.add(&key, 1, None).await;
    assert!(
        matches!(result, Err(Error::Corrupt { family: "test" })),
        "{result:?}"
    );
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), &b"user_1\xff"[..]);
}

#[rstest::rstest]
#[tokio::test]
async fn a_full_window_refuses_and_none_is_counted(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let kv = &world.kv;
    let (narrow, wide) = (limit("phone", 2, MINUTE), limit("ip", 3, MINUTE));
    for _ in 0..2 {
        assert_eq!(
            kv.hit(&[wide.clone(), narrow.clone()]).await.unwrap(),
            Hit::Within
        );
    }
    for _ in 0..5 {
        match kv.hit(&[wide.clone(), narrow.clone()]).await.unwrap() {
            Hit::Over { limit, retry_after } => {
                assert_eq!(limit, 1);
                assert!(
                    (Duration::from_millis(1)..=MINUTE).contains(&retry_after),
                    "{retry_after:?}"
                );
            }
            Hit::Within => panic!("the window was full"),
        }
    }
    // The wide one has counted two, not seven.
    assert_eq!(kv.hit(std::slice::from_ref(&wide)).await.unwrap(), Hit::Within);
    assert!(matches!(
        kv.hit(&[wide]).await.unwrap(),
        Hit::Over { limit: 0, .. }
    ));
}

#[rstest::rstest]
#[tokio::test]
async fn of_several_full_windows_the_one_that_ends_last_is_told(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let limits = [
        limit("second", 1, MINUTE),
        limit("day", 1, MINUTE * 1440),
        limit("hour", 1, MINUTE * 60),
    ];
    assert_eq!(world.kv.hit(&limits).await.unwrap(), Hit::Within);
    match world.kv.hit(&limits).await.unwrap() {
        Hit::Over { limit, retry_after } => {
            assert_eq!(limit, 1);
            assert!(retry_after > MINUTE * 60, "{retry_after:?}");
        }
        Hit::Within => panic!("all windows were full"),
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_window_ends_after_its_first_hit(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let limits = [limit("code", 1, SHORT)];
    assert_eq!(world.kv.hit(&limits).await.unwrap(), Hit::Within);
    eventually(LONG, || async {
        world.kv.hit(&limits).await.unwrap() == Hit::Within
    })
    .await;
}

#[rstest::rstest]
#[tokio::test]
async fn a_window_of_nothing_is_always_full_and_no_window_never(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let hit = world.kv.hit(&[limit("closed", 0, MINUTE)]).await.unwrap();
    assert!(matches!(hit, Hit::Over { limit: 0, .. }), "{hit:?}");
    assert_eq!(world.kv.hit(&[]).await.unwrap(), Hit::Within);
}

/// Callers name the same windows in different orders, which must not end in a deadlock.
#[rstest::rstest]
#[tokio::test]
async fn parallel_hits_are_never_more_than_the_maximum(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let kv = &world.kv;
    let forth = [
        limit("a", 30, MINUTE),
        limit("b", 25, MINUTE),
        limit("c", 40, MINUTE),
    ];
    let mut back = forth.clone();
    back.reverse();
    let (forth, back) = (&forth, &back);
    let hits = join_all(
        (0..120).map(|n| async move { kv.hit(if n % 2 == 0 { forth } else { back }).await.unwrap() }),
    )
    .await;
    assert_eq!(hits.iter().filter(|hit| **hit == Hit::Within).count(), 25);
    // What was refused was not counted elsewhere.
    let rest = join_all((0..50).map(|_| kv.hit(std::slice::from_ref(&forth[2])))).await;
    let within = rest
        .into_iter()
        .filter(|hit| *hit.as_ref().unwrap() == Hit::Within);
    assert_eq!(within.count(), 15);
}

#[rstest::rstest]
#[tokio::test]
async fn too_many_limits_or_the_same_twice_are_refused(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let many: Vec<Limit> = (0..=MAX_LIMITS)
        .map(|n| limit(&n.to_string(), 1, MINUTE))
        .collect();
    let twice = [limit("a", 1, MINUTE), limit("a", 2, MINUTE)];
    for limits in [&many[..], &twice[..]] {
        let result = world.kv.hit(limits).await;
        assert!(matches!(result, Err(Error::Bounds(_))), "{result:?}");
    }
    assert_eq!(world.kv.hit(&many[1..]).await.unwrap(), Hit::Within);
}
