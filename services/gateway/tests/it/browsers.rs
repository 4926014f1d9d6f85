//! What browsers and proxies look at.

use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use test_support::eventually;
use tokio::sync::Semaphore;

use crate::support::{Call, DEADLINE, World, somebody};
use crate::upstream::Plan;

const SITE: &str = "https://app.example.com";
const ELSEWHERE: &str = "https://evil.example.com";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

async fn with_a_site() -> World {
    World::with(|config| config.origins = vec![SITE.to_owned()]).await
}

fn preflight(world: &World, origin: &str) -> Call {
    let call = world
        .call(Method::OPTIONS, "/api/v1/tasks")
        .with("origin", origin);
    let call = call.with("access-control-request-method", "POST");
    call.with(
        "access-control-request-headers",
        "authorization,content-type,idempotency-key",
    )
}

fn list(text: Option<&str>) -> Vec<String> {
    let items = text.unwrap_or_default().split(',');
    items.map(|item| item.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_listed_site_may_call() {
    let world = with_a_site().await;
    let answer = preflight(&world, SITE).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(ALLOW_ORIGIN), Some(SITE));
    let methods = list(answer.header("access-control-allow-methods"));
    for method in ["get", "post", "put", "patch", "delete"] {
        assert!(methods.contains(&method.to_owned()), "{methods:?}");
    }
    let names = list(answer.header("access-control-allow-headers"));
    for name in [
        "authorization",
        "content-type",
        "idempotency-key",
        "last-event-id",
        "traceparent",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    // There are no cookies, and no page may believe so.
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));

    let answer = world.order(&somebody()).with("origin", SITE).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(ALLOW_ORIGIN), Some(SITE));
    let exposed = list(answer.header("access-control-expose-headers"));
    for name in ["x-request-id", "retry-after", "idempotency-replayed"] {
        assert!(exposed.contains(&name.to_owned()), "{exposed:?}");
    }
    let varying: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert!(format!("{varying:?}").contains("origin"), "{varying:?}");
}

#[tokio::test]
async fn another_site_may_not() {
    let world = with_a_site().await;
    let answer = preflight(&world, ELSEWHERE).send().await;
    assert_eq!(answer.header(ALLOW_ORIGIN), None);
    let answer = world.get("/openapi.json").with("origin", ELSEWHERE).send().await;
    assert_eq!(answer.header(ALLOW_ORIGIN), None);
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn every_site_may_call_if_so_set() {
    let world = World::with(|config| config.origins = vec!["*".to_owned()]).await;
    let answer = preflight(&world, ELSEWHERE).send().await;
    assert_eq!(answer.header(ALLOW_ORIGIN), Some(ELSEWHERE));
}

#[tokio::test]
async fn options_that_asks_nothing_is_a_method_like_others() {
    let world = with_a_site().await;
    for call in [
        world.call(Method::OPTIONS, "/api/v1/features"),
        world
            .call(Method::OPTIONS, "/api/v1/features")
            .with("origin", SITE),
    ] {
        call.send().await.expect_reason("METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn a_page_can_read_why_it_was_refused() {
    let world = World::with(|config| {
        config.origins = vec![SITE.to_owned()];
        config.max_concurrent = 1;
        config.max_uri_bytes = 256;
    })
    .await;
    let long = format!("/{}", "a".repeat(300));
    for (call, reason) in [
        (world.get("/nothing"), "ROUTE_NOT_FOUND"),
        (world.get("/api/v1/features"), "UNAUTHENTICATED"),
        (world.get(&long), "URI_TOO_LONG"),
    ] {
        let answer = call.with("origin", SITE).send().await;
        answer.expect_reason(reason);
        assert_eq!(answer.header(ALLOW_ORIGIN), Some(SITE), "{reason}");
    }
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.plan([Plan::Hold(Arc::clone(&permits))]);
    let held = tokio::spawn(world.order(&somebody()).send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    let answer = world.get("/nothing").with("origin", SITE).send().await;
    answer.expect_reason("OVERLOADED");
    assert_eq!(answer.header(ALLOW_ORIGIN), Some(SITE));
    permits.add_permits(1);
    assert_eq!(held.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn large_answers_are_compressed_for_whoever_asks() {
    let world = World::new().await;
    let bearer = somebody();
    let get = async |path: &str, accept: &str| {
        let call = world.get(path).with("authorization", &bearer);
        call.with("accept-encoding", accept).send().await
    };
    let path = "/api/v1/tasks/bytes-5000";
    let plain = get(path, "identity").await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = get(path, "br, gzip").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 1000);
    let mut unpacked = Vec::new();
    GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let small = get("/api/v1/tasks/bytes-5", "gzip").await;
    assert_eq!(small.header("content-encoding"), None);
}

#[tokio::test]
async fn every_answer_says_that_it_is_not_to_be_guessed_at_or_kept() {
    let world = World::new().await;
    let bearer = somebody();
    for (call, kept) in [
        (world.get("/nothing"), "no-store"),
        (world.get("/api/v1/features"), "no-store"),
        (world.order(&bearer), "no-store"),
        (world.post("/api/v1/auth/login", "{}"), "no-store"),
        (world.get(&format!("/{}", "a".repeat(10_000))), "no-store"),
        (world.get("/openapi.json"), "no-cache"),
        (world.get("/docs/"), "no-cache"),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some(kept), "{answer:?}");
        assert!(answer.header("x-request-id").is_some());
    }
}
