//! Values that only a newer version replaces.

use futures::future::join_all;
use kv::{Error, Versioned};
use test_support::eventually;

use crate::world::{Kind, LONG, MINUTE, SHORT, World, key};

#[rstest::rstest]
#[tokio::test]
async fn a_lower_version_never_replaces_a_higher_one(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("user"));
    let found = |version, value: Option<&'static [u8]>| {
        let value = value.map(bytes::Bytes::from_static);
        Some(Versioned { version, value })
    };
    assert_eq!(kv.get_versioned(&key).await.unwrap(), None);
    assert!(kv.put_newer(&key, 5, Some(b"five"), MINUTE).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), found(5, Some(b"five")));
    assert!(!kv.put_newer(&key, 4, Some(b"four"), MINUTE).await.unwrap());
    assert!(!kv.put_newer(&key, -5, Some(b"minus"), MINUTE).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), found(5, Some(b"five")));

    // A write to the database: what is here is out of date, and a reader of version 5 comes late.
    assert!(kv.put_newer(&key, 6, None, MINUTE).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), found(6, None));
    assert!(!kv.put_newer(&key, 5, Some(b"five"), MINUTE).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), found(6, None));
    // A reader of version 6 fills it.
    assert!(kv.put_newer(&key, 6, Some(b""), MINUTE).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), found(6, Some(b"")));
    assert!(kv.remove(&key).await.unwrap());
    assert_eq!(kv.get_versioned(&key).await.unwrap(), None);
}

#[rstest::rstest]
#[tokio::test]
async fn versions_are_compared_exactly_up_to_64_bits(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("user"));
    for version in [i64::MIN, -1, 0, 9, 10, (1 << 53) + 1, i64::MAX - 1, i64::MAX] {
        assert!(
            kv.put_newer(&key, version, None, MINUTE).await.unwrap(),
            "{version}"
        );
        let below = version.saturating_sub(1);
        let again = kv.put_newer(&key, below, None, MINUTE).await.unwrap();
        assert_eq!(again, below == version, "{version}");
        assert_eq!(kv.get_versioned(&key).await.unwrap().unwrap().version, version);
    }
}

#[rstest::rstest]
#[tokio::test]
async fn the_highest_of_parallel_versions_stays(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("user"));
    // In no order: 37 and 101 have no common divisor.
    let writes = (0..101_i64).map(|n| {
        let (key, version) = (&key, n * 37 % 101);
        async move {
            let value = version.to_string();
            kv.put_newer(key, version, Some(value.as_bytes()), MINUTE)
                .await
                .unwrap()
        }
    });
    assert!(join_all(writes).await.contains(&true));
    let last = kv.get_versioned(&key).await.unwrap().unwrap();
    assert_eq!(last.version, 100);
    assert_eq!(last.value.unwrap(), "100");
}

#[rstest::rstest]
#[tokio::test]
async fn a_version_that_has_ended_keeps_nobody_out(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("user"));
    kv.put_newer(&key, 6, None, SHORT).await.unwrap();
    eventually(LONG, || async { kv.get_versioned(&key).await.unwrap().is_none() }).await;
    assert!(kv.put_newer(&key, 5, Some(b"five"), MINUTE).await.unwrap());
}

#[rstest::rstest]
#[tokio::test]
async fn a_plain_value_is_no_version(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let (kv, key) = (&world.kv, key("user"));
    kv.put(&key, b"a value that is longer than a record's head", MINUTE)
        .await
        .unwrap();
    let result = kv.get_versioned(&key).await;
    assert!(
        matches!(result, Err(Error::Corrupt { family: "test" })),
        "{result:?}"
    );
}
