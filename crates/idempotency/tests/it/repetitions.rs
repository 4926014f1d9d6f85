//! The same request, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use idempotency::Scope;
use test_support::eventually;
use tokio::task::JoinSet;

use crate::world::{Answer, Kind, LONG, World, order, request, send};

#[rstest::rstest]
#[tokio::test]
async fn a_repetition_gets_the_first_answer(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let first = world.send(order("key-1")).await;
    assert_eq!(first.status, 201);
    assert!(!first.is_replayed());
    for key in ["key-1", "\"key-1\""] {
        let again = world.send(order(key)).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert!(again.is_replayed());
        assert_eq!(again.header("content-type"), Some("application/json"));
        assert_eq!(again.header("location"), first.header("location"));
        // What is between the server and one client is not kept.
        assert_eq!(again.header("set-cookie"), None);
    }
    assert_eq!(world.shop.runs(), 1);
    assert_eq!(world.effects().await, 1);
}

#[rstest::rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_parallel_identical_requests_have_one_effect_and_one_answer(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let app = world.app.clone();
        clients.spawn(async move { send(app, order("key-1")).await });
    }
    let answers = clients.join_all().await;
    assert_eq!(world.shop.runs(), 1);
    assert_eq!(world.effects().await, 1);
    let first: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 201 && !answer.is_replayed())
        .collect();
    assert_eq!(first.len(), 1);
    for answer in &answers {
        match answer.status {
            201 => assert_eq!(answer.body, first[0].body),
            _ => {
                assert_eq!((answer.status, answer.reason()), (409, "IDEMPOTENCY_KEY_IN_USE"));
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        }
    }
    let later = world.send(order("key-1")).await;
    assert!(later.is_replayed());
    assert_eq!(later.body, first[0].body);
}

/// Everybody repeats until there is an answer, as clients do.
#[rstest::rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_flushed_again_and_again_doubles_nothing(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = Arc::new(World::new(kind).await);
    let over = Arc::new(AtomicBool::new(false));
    let (flushed, until) = (Arc::clone(&world), Arc::clone(&over));
    let flushes = tokio::spawn(async move {
        let mut count = 0_u32;
        while !until.load(Ordering::SeqCst) {
            flushed.flush().await;
            count += 1;
        }
        count
    });
    let mut clients = JoinSet::new();
    for n in 0..200 {
        let app = world.app.clone();
        clients.spawn(async move {
            let key = format!("key-{}", n % 10);
            let ask = || async {
                let answer = send(app.clone(), order(&key)).await;
                if answer.status == 201 {
                    Ok(answer.body)
                } else {
                    Err(answer)
                }
            };
            (n % 10, eventually(LONG, ask).await)
        });
    }
    let answers = clients.join_all().await;
    over.store(true, Ordering::SeqCst);
    assert!(flushes.await.unwrap() > 0);
    assert_eq!(world.effects().await, 10);
    for (key, body) in &answers {
        let same = answers.iter().find(|(other, _)| other == key).unwrap();
        assert_eq!(*body, same.1);
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_request_that_is_running_is_not_run_again(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    world.close();
    let first = tokio::spawn(send(world.app.clone(), order("key-1")));
    eventually(LONG, || async { world.shop.runs() == 1 }).await;
    let again = world.send(order("key-1")).await;
    assert_eq!((again.status, again.reason()), (409, "IDEMPOTENCY_KEY_IN_USE"));
    // Another request is told so at once, not after the first has ended.
    let other = world.send(request("POST", "/orders", &["key-1"], "{}")).await;
    assert_eq!((other.status, other.reason()), (422, "IDEMPOTENCY_KEY_REUSED"));
    world.open();
    assert_eq!(first.await.unwrap().status, 201);
    assert!(world.send(order("key-1")).await.is_replayed());
    assert_eq!(world.shop.runs(), 1);
}

#[rstest::rstest]
#[tokio::test]
async fn another_request_under_the_same_key_is_refused(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    assert_eq!(world.send(order("key-1")).await.status, 201);
    let body = r#"{"planId":"gold"}"#;
    for other in [
        request("POST", "/orders", &["key-1"], r#"{"planId":"silver"}"#),
        request("POST", "/orders", &["key-1"], ""),
        request("POST", "/orders?dry=1", &["key-1"], body),
        request("PUT", "/orders", &["key-1"], body),
        request("PATCH", "/orders", &["key-1"], body),
        request("POST", "/status/200", &["key-1"], body),
    ] {
        let answer = world.send(other).await;
        assert_eq!((answer.status, answer.reason()), (422, "IDEMPOTENCY_KEY_REUSED"));
    }
    assert_eq!(world.shop.runs(), 1);
    assert!(world.send(order("key-1")).await.is_replayed());
}

#[rstest::rstest]
#[tokio::test]
async fn callers_do_not_share_keys(#[values(Kind::Redis, Kind::Postgres)] kind: Kind) {
    let world = World::new(kind).await;
    let of = |scope: &str| {
        let mut request = request("POST", "/status/200", &["key-1"], "");
        request.extensions_mut().insert(Scope(scope.to_owned()));
        request
    };
    let scopes = [
        "user_1",
        "user_2",
        "anonymous:127.0.0.1",
        "anonymous:::1",
        "user_1:http",
    ];
    for (run, scope) in scopes.into_iter().enumerate() {
        assert_eq!(world.send(of(scope)).await.body, format!("run {}", run + 1));
    }
    for (run, scope) in scopes.into_iter().enumerate() {
        let again = world.send(of(scope)).await;
        assert!(again.is_replayed());
        assert_eq!(again.body, format!("run {}", run + 1));
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_request_without_a_key_or_that_changes_nothing_is_run_each_time(
    #[values(Kind::Redis, Kind::Postgres)] kind: Kind,
) {
    let world = World::new(kind).await;
    let runs: [Request<Body>; 4] = [
        request("POST", "/orders", &[], "{}"),
        request("POST", "/orders", &[], "{}"),
        request("GET", "/orders", &["key-1"], ""),
        request("GET", "/orders", &["key-1"], ""),
    ];
    for run in runs {
        let answer = world.send(run).await;
        assert_eq!(answer.status, 201);
        assert!(!answer.is_replayed());
    }
    assert_eq!(world.shop.runs(), 4);
}
