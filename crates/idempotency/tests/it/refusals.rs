//! What is refused before anything is run.

use axum::body::Body;
use axum::http::Request;
use idempotency::{Config, Scope};

use crate::world::{Kind, World, order, request};

#[rstest::rstest]
#[tokio::test]
async fn what_is_no_key_is_refused(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let long = "x".repeat(256);
    let odd: [&[&str]; 6] = [
        &[""],
        &["\"open"],
        &["\"a\";b"],
        &[&long],
        &["a", "b"],
        &["a", "a"],
    ];
    for keys in odd {
        let answer = world.send(request("POST", "/orders", keys, "{}")).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (400, "IDEMPOTENCY_KEY_INVALID"),
            "{keys:?}"
        );
    }
    assert_eq!(world.shop.runs(), 0);
    let longest = "x".repeat(255);
    assert_eq!(world.send(order(&longest)).await.status, 201);
    assert!(world.send(order(&longest)).await.is_replayed());
}

#[rstest::rstest]
#[tokio::test]
async fn a_body_that_is_too_large_or_breaks_off_is_refused(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let config = Config {
        max_body_bytes: 1024,
        ..Config::default()
    };
    let world = World::with(kind, config).await;
    let send = |size: usize| world.send(request("POST", "/orders", &["key-1"], &"x".repeat(size)));
    let answer = send(1025).await;
    assert_eq!((answer.status, answer.reason()), (413, "PAYLOAD_TOO_LARGE"));
    let parts: [Result<&str, std::io::Error>; 2] = [Ok("{"), Err(std::io::Error::other("cut"))];
    let broken = Request::post("/orders")
        .header("Idempotency-Key", "key-1")
        .extension(Scope("user_1".to_owned()))
        .body(Body::from_stream(futures::stream::iter(parts)))
        .unwrap();
    let answer = world.send(broken).await;
    assert_eq!((answer.status, answer.reason()), (400, "MALFORMED_BODY"));
    assert_eq!(world.shop.runs(), 0);
    // The key was not taken by either.
    assert_eq!(send(1024).await.status, 201);
}

#[tokio::test]
async fn a_request_of_nobody_is_a_defect() {
    let world = World::new(Kind::Postgres).await;
    let mut nobody = order("key-1");
    nobody.extensions_mut().remove::<Scope>();
    let answer = world.send(nobody).await;
    assert_eq!((answer.status, answer.reason()), (500, "INTERNAL"));
    assert_eq!(world.shop.runs(), 0);
}

#[rstest::rstest]
#[tokio::test]
async fn a_record_that_cannot_be_read_is_not_overruled(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let name = kv::Key::new("idempotency", &["user_1", "http", "key-1"]);
    let minute = std::time::Duration::from_secs(60);
    world.kv.put(&name, b"what is this?", minute).await.unwrap();
    let answer = world.send(order("key-1")).await;
    assert_eq!((answer.status, answer.reason()), (503, "IDEMPOTENCY_UNAVAILABLE"));
    assert_eq!(world.shop.runs(), 0);
    assert_eq!(world.kv.get(&name).await.unwrap().unwrap(), "what is this?");
}
