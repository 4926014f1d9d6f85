//! Families of ids.

use std::time::Duration;

use futures::future::join_all;
use kv::{Error, Kv, Rotation};
use test_support::eventually;

use crate::world::{Kind, LONG, MINUTE, SHORT, World, key};

const GRACE: Duration = Duration::from_secs(600);
const NO_GRACE: Duration = Duration::ZERO;

async fn rotate(kv: &Kv, presented: &str, next: &str, grace: Duration) -> Rotation {
    kv.rotate(&key("family"), presented, next, grace, MINUTE)
        .await
        .unwrap()
}

fn repeated(current: &str) -> Rotation {
    Rotation::Repeated {
        current: current.to_owned(),
    }
}

async fn family(kind: Kind) -> World {
    let world = World::new(kind).await;
    world
        .kv
        .begin_rotation(&key("family"), "r0", MINUTE)
        .await
        .unwrap();
    world
}

#[rstest::rstest]
#[tokio::test]
async fn the_active_id_is_replaced_and_its_parent_answered_within_the_grace(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = family(kind).await;
    let kv = &world.kv;
    assert_eq!(rotate(kv, "r0", "r1", GRACE).await, Rotation::Rotated);
    assert_eq!(rotate(kv, "r0", "x", GRACE).await, repeated("r1"));
    assert_eq!(rotate(kv, "r0", "y", GRACE).await, repeated("r1"));
    assert_eq!(rotate(kv, "r1", "r2", GRACE).await, Rotation::Rotated);
    assert_eq!(rotate(kv, "r1", "z", GRACE).await, repeated("r2"));
    assert_eq!(rotate(kv, "r2", "r3", GRACE).await, Rotation::Rotated);
}

#[rstest::rstest]
#[tokio::test]
async fn an_older_id_ends_the_family(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = family(kind).await;
    let kv = &world.kv;
    rotate(kv, "r0", "r1", GRACE).await;
    rotate(kv, "r1", "r2", GRACE).await;
    assert_eq!(rotate(kv, "r0", "x", GRACE).await, Rotation::Reused);
    assert_eq!(rotate(kv, "r2", "r3", GRACE).await, Rotation::Absent);
    assert_eq!(rotate(kv, "r0", "x", GRACE).await, Rotation::Absent);
}

#[rstest::rstest]
#[tokio::test]
async fn what_is_no_id_ends_the_family_and_is_not_the_missing_parent(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    for odd in ["", " ", "r0 ", "r\0", "né"] {
        let world = family(kind).await;
        assert_eq!(
            rotate(&world.kv, odd, "r1", GRACE).await,
            Rotation::Reused,
            "{odd:?}"
        );
    }
}

/// A client whose answer was lost comes back after the grace and goes on.
#[rstest::rstest]
#[tokio::test]
async fn the_parent_is_answered_after_the_grace_with_a_new_id(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = family(kind).await;
    let kv = &world.kv;
    assert_eq!(rotate(kv, "r0", "lost", GRACE).await, Rotation::Rotated);
    let found = eventually(LONG, || async {
        // The grace is over when the store's clock has gone on by a millisecond.
        let found = rotate(kv, "r0", "r1", NO_GRACE).await;
        if found == repeated("r1") {
            Ok("r1")
        } else {
            Err(found)
        }
    })
    .await;
    assert_eq!(rotate(kv, "r0", "x", GRACE).await, repeated(found));
    assert_eq!(rotate(kv, "r1", "r2", GRACE).await, Rotation::Rotated);
}

/// The id was not lost: somebody else has a copy of the parent. One of them ends the family.
#[rstest::rstest]
#[tokio::test]
async fn two_who_share_a_family_end_it(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = family(kind).await;
    let kv = &world.kv;
    assert_eq!(rotate(kv, "r0", "owner", GRACE).await, Rotation::Rotated);
    eventually(LONG, || async {
        rotate(kv, "r0", "thief", NO_GRACE).await == repeated("thief")
    })
    .await;
    assert_eq!(rotate(kv, "owner", "x", GRACE).await, Rotation::Reused);
    assert_eq!(rotate(kv, "thief", "y", GRACE).await, Rotation::Absent);
}

/// The race is short: many rounds.
#[rstest::rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_present_the_active_id_one_rotates_and_all_get_the_same(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    for round in 0..50 {
        let name = key(&format!("family-{round}"));
        world.kv.begin_rotation(&name, "r0", MINUTE).await.unwrap();
        let tries = (0..16).map(|n| {
            let (kv, name) = (world.kv.clone(), name.clone());
            tokio::spawn(async move {
                let next = format!("next-{n}");
                let outcome = kv.rotate(&name, "r0", &next, GRACE, MINUTE).await.unwrap();
                (next, outcome)
            })
        });
        let outcomes: Vec<(String, Rotation)> =
            join_all(tries).await.into_iter().map(Result::unwrap).collect();
        let mut winners = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == Rotation::Rotated);
        let (winner, _) = winners.next().unwrap();
        assert!(winners.next().is_none(), "{outcomes:?}");
        for (_, outcome) in &outcomes {
            assert!(
                *outcome == Rotation::Rotated || *outcome == repeated(winner),
                "{outcomes:?}"
            );
        }
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_family_ends_with_its_time_and_begins_anew(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let kv = &world.kv;
    let (name, next) = (key("family"), "r1");
    kv.begin_rotation(&name, "r0", MINUTE).await.unwrap();
    assert_eq!(
        kv.rotate(&name, "r0", next, GRACE, SHORT).await.unwrap(),
        Rotation::Rotated
    );
    eventually(LONG, || async {
        // Within the grace: looking prolongs nothing.
        kv.rotate(&name, "r0", "x", GRACE, MINUTE).await.unwrap() == Rotation::Absent
    })
    .await;
    kv.begin_rotation(&name, "s0", MINUTE).await.unwrap();
    kv.begin_rotation(&name, "t0", MINUTE).await.unwrap();
    assert_eq!(rotate(kv, "t0", "t1", GRACE).await, Rotation::Rotated);
    assert!(kv.remove(&name).await.unwrap());
    assert_eq!(rotate(kv, "t1", "t2", GRACE).await, Rotation::Absent);
}

#[rstest::rstest]
#[tokio::test]
async fn a_value_that_is_no_family_is_told_and_kept(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let kv = &world.kv;
    for odd in ["", "r0", "1 2", "1 2 3 4", "x r0 r1"] {
        kv.put(&key("family"), odd.as_bytes(), MINUTE).await.unwrap();
        let result = kv.rotate(&key("family"), "r0", "r1", GRACE, MINUTE).await;
        assert!(
            matches!(result, Err(Error::Corrupt { family: "test" })),
            "{odd:?}: {result:?}"
        );
        assert_eq!(kv.get(&key("family")).await.unwrap().unwrap(), odd);
    }
}

#[rstest::rstest]
#[tokio::test]
async fn an_id_that_cannot_be_kept_is_refused(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = family(kind).await;
    for odd in ["", "a b", &"x".repeat(129)] {
        let begun = world.kv.begin_rotation(&key("family"), odd, MINUTE).await;
        assert!(matches!(begun, Err(Error::Bounds(_))), "{begun:?}");
        let rotated = world.kv.rotate(&key("family"), "r0", odd, GRACE, MINUTE).await;
        assert!(matches!(rotated, Err(Error::Bounds(_))), "{rotated:?}");
    }
    assert_eq!(rotate(&world.kv, "r0", "r1", GRACE).await, Rotation::Rotated);
}
