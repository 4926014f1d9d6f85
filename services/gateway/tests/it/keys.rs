//! Idempotency keys over HTTP.

use std::sync::Arc;

use http::StatusCode;
use rpc::error::Reason;
use rstest::rstest;
use test_support::eventually;
use tokio::sync::Semaphore;

use crate::support::{Answer, Call, DEADLINE, ORDER, World, somebody, within};
use crate::upstream::Plan;

const REPLAYED: &str = "idempotency-replayed";

fn keyed(world: &World, bearer: &str, key: &str) -> Call {
    world.order(bearer).with("idempotency-key", key)
}

#[tokio::test]
async fn a_repetition_has_the_first_answer() {
    let world = World::new().await;
    let bearer = somebody();
    let first = keyed(&world, &bearer, "key-1").send().await;
    assert_eq!((first.status, first.header(REPLAYED)), (StatusCode::OK, None));
    let call = keyed(&world, &bearer, "key-1").with("x-request-id", "second");
    let again = call.send().await;
    assert_eq!(again.header(REPLAYED), Some("true"));
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("content-type"), Some("application/json"));
    // The answer to this request, not to that one.
    assert_eq!(again.header("x-request-id"), Some("second"));
    assert_eq!(world.upstream.seen().len(), 1);
    assert_eq!(world.upstream.last().header("idempotency-key"), Some("key-1"));
}

#[tokio::test]
async fn a_refusal_of_the_request_itself_is_kept_as_well() {
    let world = World::new().await;
    let bearer = somebody();
    let status = Reason::TaskNotFound.status("task.evenkeel", "no such task");
    world.upstream.plan([Plan::Fail(status)]);
    for replayed in [None, Some("true")] {
        let answer = keyed(&world, &bearer, "key-1").send().await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["reason"], "TASK_NOT_FOUND");
        assert_eq!(answer.header(REPLAYED), replayed);
    }
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let world = World::new().await;
    let bearer = somebody();
    let first = keyed(&world, &bearer, "key-1").send().await;
    let other = r#"{"featureId":"image.resize","inputData":{"width":9}}"#;
    keyed(&world, &bearer, "key-1")
        .body(other)
        .send()
        .await
        .expect_reason("IDEMPOTENCY_KEY_REUSED");
    let path = "/api/v1/tasks/task_1/cancel";
    let call = world.post(path, ORDER).with("authorization", &bearer);
    let call = call.with("idempotency-key", "key-1").send().await;
    call.expect_reason("IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.upstream.seen().len(), 1);
    let others = keyed(&world, &somebody(), "key-1").send().await;
    assert_eq!((others.status, others.header(REPLAYED)), (StatusCode::OK, None));
    assert_ne!(others.json()["taskId"], first.json()["taskId"]);
}

#[tokio::test]
async fn while_the_first_is_under_way_the_others_are_told_to_wait() {
    let world = World::new().await;
    let bearer = somebody();
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.plan([Plan::Hold(Arc::clone(&permits))]);
    let first = tokio::spawn(keyed(&world, &bearer, "key-1").send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    let second = keyed(&world, &bearer, "key-1").send().await;
    second.expect_reason("IDEMPOTENCY_KEY_IN_USE");
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert!(second.header("retry-after").is_some());
    permits.add_permits(1);
    let first: Answer = within("the first is answered", first).await.unwrap();
    let third = keyed(&world, &bearer, "key-1").send().await;
    assert_eq!((third.header(REPLAYED), &third.body), (Some("true"), &first.body));
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn many_at_once_have_one_effect_and_one_answer() {
    let world = World::new().await;
    let bearer = somebody();
    let calls = (0..50).map(|_| keyed(&world, &bearer, "key-1").send());
    let answers = futures::future::join_all(calls).await;
    assert_eq!(world.upstream.seen().len(), 1);
    let (good, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| answer.status == StatusCode::OK);
    let fresh = good.iter().filter(|answer| answer.header(REPLAYED).is_none());
    assert_eq!(fresh.count(), 1);
    assert!(good.iter().all(|answer| answer.body == good[0].body));
    for answer in refused {
        answer.expect_reason("IDEMPOTENCY_KEY_IN_USE");
    }
}

#[tokio::test]
async fn what_may_go_well_next_time_is_not_kept() {
    let world = World::new().await;
    let bearer = somebody();
    let failures = [
        Reason::Internal.status("task.evenkeel", "x"),
        Reason::Unavailable.status("task.evenkeel", "x"),
        Reason::RateLimited.status("task.evenkeel", "x"),
    ];
    world.upstream.plan(failures.into_iter().map(Plan::Fail));
    for reason in ["INTERNAL", "UNAVAILABLE", "RATE_LIMITED"] {
        let answer = keyed(&world, &bearer, "key-1").send().await;
        answer.expect_reason(reason);
        assert_eq!(answer.header(REPLAYED), None);
    }
    let answer = keyed(&world, &bearer, "key-1").send().await;
    assert_eq!((answer.status, answer.header(REPLAYED)), (StatusCode::OK, None));
    assert_eq!(world.upstream.seen().len(), 4);
}

#[tokio::test]
async fn whoever_needs_no_token_has_no_key() {
    let world = World::new().await;
    let bearer = somebody();
    for token in [None, None, Some(&bearer), Some(&bearer)] {
        let call = world.post("/api/v1/auth/login", r#"{"phone":"+8613800138000"}"#);
        let call = match token {
            Some(token) => call.with("authorization", token),
            None => call,
        };
        let answer = call.with("idempotency-key", "key-1").send().await;
        assert_eq!((answer.status, answer.header(REPLAYED)), (StatusCode::OK, None));
    }
    assert_eq!(world.upstream.seen().len(), 4);
    assert_eq!(world.upstream.last().header("idempotency-key"), None);
}

#[tokio::test]
async fn reading_needs_no_key() {
    let world = World::new().await;
    let bearer = somebody();
    for _ in 0..2 {
        let call = world.get("/api/v1/features").with("authorization", &bearer);
        let answer = call.with("idempotency-key", "key-1").send().await;
        assert_eq!((answer.status, answer.header(REPLAYED)), (StatusCode::OK, None));
    }
    assert_eq!(world.upstream.seen().len(), 2);
}

#[rstest]
#[case::empty(String::new())]
#[case::too_long("x".repeat(256))]
#[case::not_ascii("schlüssel".to_owned())]
#[tokio::test]
async fn a_key_that_is_none_is_refused(#[case] key: String) {
    let world = World::new().await;
    let call = world.order(&somebody()).with("idempotency-key", key.as_bytes());
    call.send().await.expect_reason("IDEMPOTENCY_KEY_INVALID");
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_goes_does_not_stop_what_it_began() {
    let world = World::new().await;
    let bearer = somebody();
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.plan([Plan::Hold(Arc::clone(&permits))]);
    let gone = tokio::spawn(keyed(&world, &bearer, "key-1").send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    permits.add_permits(1);
    let replayed = || async {
        let answer = keyed(&world, &bearer, "key-1").send().await;
        (answer.header(REPLAYED) == Some("true")).then_some(answer)
    };
    let answer = eventually(DEADLINE, replayed).await;
    assert_eq!(answer.json()["status"], "PENDING");
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_request_with_a_key_may_be_as_large_as_any() {
    let world = World::with(|config| config.max_body_bytes = 2 * 1024 * 1024).await;
    let padded = format!("{ORDER}{}", " ".repeat(1_500_000));
    let call = keyed(&world, &somebody(), "key-1").body(padded);
    assert_eq!(call.send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_the_store_a_key_is_no_promise_and_nothing_is_done() {
    let world = World::forgetful().await;
    let bearer = somebody();
    let refused = keyed(&world, &bearer, "key-1").send().await;
    refused.expect_reason("IDEMPOTENCY_UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    assert!(world.upstream.seen().is_empty());
    // Who promises nothing needs no store.
    assert_eq!(world.order(&bearer).send().await.status, StatusCode::OK);
    let ticket = world.post("/api/v1/tasks/watch-tickets", "{}");
    let ticket = ticket.with("authorization", &bearer).send().await;
    ticket.expect_reason("UNAVAILABLE");
}
