//! Every bound that the gateway itself sets is kept, and says which it is.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, StatusCode};
use rstest::rstest;
use test_support::eventually;
use tokio::sync::Semaphore;

use crate::raw::{Raw, RawAnswer, exchange};
use crate::support::{DEADLINE, ORDER, World, somebody, within};
use crate::upstream::Plan;

/// Smallest bound for bodies.
const MAX_BODY: usize = 1024;

async fn small() -> World {
    World::with(|config| {
        config.max_body_bytes = MAX_BODY;
        config.max_uri_bytes = 256;
        config.max_header_bytes = 2048;
        config.body_timeout = Duration::from_secs(1);
        config.head_timeout = Duration::from_secs(1);
    })
    .await
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_there_says_its_methods() {
    let world = World::new().await;
    for path in [
        "/",
        "/api/v1/nothing",
        "/api/v1/tasks/",
        "/api/v1/tasks/a/b/c",
        "//",
    ] {
        world.get(path).send().await.expect_reason("ROUTE_NOT_FOUND");
    }
    // The packages that have no address have no routes.
    world
        .get("/api/v1/quota")
        .send()
        .await
        .expect_reason("ROUTE_NOT_FOUND");
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/tasks", "GET, HEAD, POST"),
        (Method::PUT, "/api/v1/tasks/task_1/cancel", "POST"),
        (Method::POST, "/openapi.json", "GET, HEAD"),
        (Method::DELETE, "/docs/", "GET, HEAD"),
        (Method::POST, "/api/v1/tasks/watch", "GET"),
        (Method::GET, "/api/v1/tasks/watch-tickets", "POST"),
        (
            Method::from_bytes(b"BREW").unwrap(),
            "/api/v1/features",
            "GET, HEAD",
        ),
        (Method::TRACE, "/api/v1/features", "GET, HEAD"),
        (Method::OPTIONS, "/api/v1/features", "GET, HEAD"),
    ] {
        let answer = world.call(method, path).send().await;
        answer.expect_reason("METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let world = World::new().await;
    for path in ["/openapi.json", "/api/v1/tasks/bytes-10"] {
        let bearer = somebody();
        let get = world.get(path).with("authorization", &bearer).send().await;
        let head = world.call(Method::HEAD, path).with("authorization", &bearer);
        let head = head.send().await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
    }
    let refused = world.call(Method::HEAD, "/api/v1/features").send().await;
    assert_eq!(
        (refused.status, refused.body.len()),
        (StatusCode::UNAUTHORIZED, 0)
    );
}

#[tokio::test]
async fn a_body_may_have_so_many_bytes_and_not_one_more() {
    let world = small().await;
    let bearer = somebody();
    let body = |length: usize| format!("{ORDER}{}", " ".repeat(length - ORDER.len()));
    let send = async |body: reqwest::Body| {
        let call = world.post("/api/v1/tasks", body);
        call.with("authorization", &bearer).send().await
    };
    assert_eq!(send(body(MAX_BODY).into()).await.status, StatusCode::OK);
    // Announced by its length.
    send(body(MAX_BODY + 1).into())
        .await
        .expect_reason("PAYLOAD_TOO_LARGE");
    // Far more than what buffers on the way hold: the answer comes all the same.
    let huge = send(body(20 * 1024 * 1024).into()).await;
    huge.expect_reason("PAYLOAD_TOO_LARGE");
    // In chunks, not announced.
    let chunks = |count| {
        let chunks = std::iter::repeat_n(" ".repeat(100), count).map(Ok::<_, std::io::Error>);
        reqwest::Body::wrap_stream(futures::stream::iter(chunks))
    };
    send(chunks(20)).await.expect_reason("PAYLOAD_TOO_LARGE");
    send(chunks(10)).await.expect_reason("MALFORMED_BODY");
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_compressed_body_is_measured_as_it_unpacks() {
    let world = small().await;
    let send = async |packed: Vec<u8>| {
        let call = world.post("/api/v1/tasks", packed);
        let call = call.with("authorization", somebody());
        call.with("content-encoding", "gzip").send().await
    };
    assert_eq!(send(gzip(ORDER.as_bytes())).await.status, StatusCode::OK);
    let bomb = gzip(&[b' '; 500_000]);
    assert!(bomb.len() < MAX_BODY);
    send(bomb).await.expect_reason("PAYLOAD_TOO_LARGE");
    let packed = gzip(ORDER.as_bytes());
    send(packed[..packed.len() / 2].to_vec())
        .await
        .expect_reason("MALFORMED_BODY");
    send(ORDER.into()).await.expect_reason("MALFORMED_BODY");
    assert_eq!(world.upstream.seen().len(), 1);
}

#[rstest]
#[case(&[])]
#[case(&[("content-type", "text/plain")])]
#[case(&[("content-type", "application/json; charset=gbk")])]
#[case(&[("content-type", "application/x-www-form-urlencoded")])]
#[case(&[("content-type", "multipart/form-data; boundary=x")])]
#[case(&[("content-type", "application/json"), ("content-encoding", "br")])]
#[case(&[("content-type", "application/json"), ("content-encoding", "gzip, gzip")])]
#[tokio::test]
async fn a_body_is_json_in_utf8_and_plain_or_gzip(#[case] headers: &[(&str, &str)]) {
    let world = World::new().await;
    let call = world.call(Method::POST, "/api/v1/tasks").body(ORDER);
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.with(name, *value));
    let answer = call.with("authorization", somebody()).send().await;
    answer.expect_reason("MEDIA_TYPE_NOT_SUPPORTED");
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn paths_and_heads_have_a_length() {
    let world = small().await;
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    world
        .get(&path(256))
        .send()
        .await
        .expect_reason("ROUTE_NOT_FOUND");
    let long = world.get(&path(257)).send().await;
    long.expect_reason("URI_TOO_LONG");
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    let query = format!("/api/v1/features?{}", "q".repeat(300));
    world.get(&query).send().await.expect_reason("URI_TOO_LONG");

    let heavy = world.get("/x").with("x-heavy", "h".repeat(2048)).send().await;
    heavy.expect_reason("HEADERS_TOO_LARGE");
    assert_eq!(heavy.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let few = (0..95).fold(world.get("/x"), |call, n| call.with("x-n", n));
    few.send().await.expect_reason("ROUTE_NOT_FOUND");
    let many = (0..101).fold(world.get("/x"), |call, n| call.with("x-n", n));
    many.send().await.expect_reason("HEADERS_TOO_LARGE");
}

#[tokio::test]
async fn a_head_beyond_every_buffer_is_answered_by_the_library() {
    let world = World::new().await;
    for (name, request) in [
        (
            "a line",
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(300_000)),
        ),
        (
            "a header",
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(300_000)),
        ),
        (
            "headers",
            format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(600)),
        ),
    ] {
        let mut raw = Raw::connect(world.addr).await;
        raw.write(request).await;
        let answer = raw.read_to_end().await;
        // The client may be told by a reset only, if it was still writing.
        if let Some(answer) = RawAnswer::parse(&answer) {
            assert!(answer.status.is_client_error(), "{name}: {answer:?}");
        }
    }
    world.get("/x").send().await.expect_reason("ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn the_same_bounds_hold_over_http_2() {
    let mut world = small().await;
    world.client = crate::support::client().http2_prior_knowledge().build().unwrap();
    let heavy = world.get("/x").with("x-heavy", "h".repeat(2048)).send().await;
    heavy.expect_reason("HEADERS_TOO_LARGE");
    world
        .get(&format!("/{}", "a".repeat(300)))
        .send()
        .await
        .expect_reason("URI_TOO_LONG");
    let call = world.post("/api/v1/tasks", vec![b' '; 100_000]);
    let large = call.with("authorization", somebody()).send().await;
    large.expect_reason("PAYLOAD_TOO_LARGE");
    let order = world.order(&somebody()).send().await;
    assert_eq!(order.status, StatusCode::OK, "{order:?}");
}

#[rstest]
#[case::nothing("")]
#[case::a_part(r#"{"featureId":"im"#)]
#[tokio::test]
async fn a_body_that_pauses_is_given_up(#[case] part: &str) {
    let world = small().await;
    let head = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{part}",
        somebody()
    );
    let answer = exchange(world.addr, head).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.reason(), "BODY_TIMEOUT");
    assert!(world.upstream.seen().is_empty());
}

/// A byte every 50 ms, without end.
fn dripping() -> reqwest::Body {
    let ticks = tokio::time::interval(Duration::from_millis(50));
    let drops = futures::stream::unfold(ticks, |mut ticks| async {
        ticks.tick().await;
        Some((Ok::<_, std::io::Error>(" "), ticks))
    });
    reqwest::Body::wrap_stream(drops)
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let world = small().await;
    let call = world.post("/api/v1/tasks", dripping());
    let answer = call.with("authorization", somebody()).send().await;
    answer.expect_reason("BODY_TIMEOUT");
    assert!(world.upstream.seen().is_empty());
}

#[rstest]
#[case::nothing("")]
#[case::a_part_of_a_line("GET / HT")]
#[case::a_part_of_the_head("GET / HTTP/1.1\r\nhost: x\r\n")]
#[case::a_part_of_the_preface_of_http_2("PRI * HTTP/2.0\r\n")]
#[case::an_answered_request("GET /x HTTP/1.1\r\nhost: x\r\n\r\n")]
#[tokio::test]
async fn a_connection_on_which_no_head_arrives_is_closed(#[case] written: &str) {
    let world = small().await;
    let mut raw = Raw::connect(world.addr).await;
    raw.write(written).await;
    // It fails at the deadline of the test if the connection stays open.
    raw.read_to_end().await;
}

#[tokio::test]
async fn beyond_its_places_a_request_is_refused_at_once() {
    let world = World::with(|config| config.max_concurrent = 1).await;
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.plan([Plan::Hold(Arc::clone(&permits))]);
    let held = tokio::spawn(world.order(&somebody()).send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    let refused = world.get("/api/v1/features").send().await;
    refused.expect_reason("OVERLOADED");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), Some("1"));
    permits.add_permits(1);
    let answered = within("the held request is answered", held).await.unwrap();
    assert_eq!(answered.status, StatusCode::OK);
    world.get("/x").send().await.expect_reason("ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn slow_bodies_of_strangers_take_a_quarter_of_the_places_at_most() {
    let world = World::with(|config| config.max_concurrent = 8).await;
    let slow = || world.post("/api/v1/auth/login", dripping()).send();
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(slow())).collect();
    // Once the slow ones have their places, one more stranger is refused; before, it is answered.
    eventually(DEADLINE, || async {
        let answer = world.post("/api/v1/auth/login", "{").send().await;
        answer.status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;
    let order = world.order(&somebody()).send().await;
    assert_eq!(order.status, StatusCode::OK);
    for slow in waiting {
        slow.abort();
    }
}

#[tokio::test]
async fn beyond_its_connections_clients_wait_until_one_leaves() {
    let world = World::with(|config| config.max_connections = 1).await;
    let request = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = Raw::connect(world.addr).await;
    first.write(request).await;
    first.answer().await;
    let mut second = Raw::connect(world.addr).await;
    second.write(request).await;
    // The first still has the place, so an answer to it comes before the second is looked at.
    first.write(request).await;
    assert_eq!(first.answer().await.reason(), "ROUTE_NOT_FOUND");
    drop(first);
    assert_eq!(second.answer().await.reason(), "ROUTE_NOT_FOUND");
}
