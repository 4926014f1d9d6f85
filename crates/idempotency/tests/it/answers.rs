//! Which answers are kept.

use idempotency::MAX_RECORD_BYTES;

use crate::world::{Kind, World, request};

#[rstest::rstest]
#[tokio::test]
async fn an_answer_that_would_be_another_one_later_is_not_kept(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    for status in [401, 408, 409, 425, 429, 499, 500, 501, 502, 503, 504, 599] {
        let path = format!("/status/{status}");
        let send = || world.send(request("POST", &path, &[&path], ""));
        let (first, second) = (send().await, send().await);
        assert_eq!((first.status, second.status), (status, status));
        assert!(!second.is_replayed(), "{status}");
        assert_ne!(first.body, second.body, "{status}");
    }
}

#[rstest::rstest]
#[tokio::test]
async fn an_answer_that_stays_is_kept(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    for status in [200, 201, 202, 303, 400, 402, 403, 404, 410, 412, 422] {
        let path = format!("/status/{status}");
        for method in ["POST", "PUT", "PATCH"] {
            let key = format!("{method} {status}");
            let send = || world.send(request(method, &path, &[&key], ""));
            let (first, second) = (send().await, send().await);
            assert_eq!((first.status, &first.body), (second.status, &second.body));
            assert!(!first.is_replayed(), "{status}");
            assert!(second.is_replayed(), "{status}");
        }
    }
}

#[rstest::rstest]
#[tokio::test]
async fn an_answer_that_is_too_large_is_given_and_not_kept(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    for (size, kept) in [(4_000, true), (MAX_RECORD_BYTES, false), (1_000_000, false)] {
        let path = format!("/large/{size}");
        let send = || world.send(request("POST", &path, &[&path], ""));
        let (first, second) = (send().await, send().await);
        assert_eq!((first.body.len(), second.body.len()), (size, size));
        assert_eq!(second.is_replayed(), kept, "{size}");
    }
}
