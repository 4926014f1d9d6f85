//! Whatever a client sends, it gets an answer or loses its connection in time, nothing of ours fails, and the gateway lives on.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

use crate::raw::{Raw, status};
use crate::support::{ORDER, World, somebody};

/// Requests that are under way at once, so that the waits of one are those of all.
const AT_ONCE: usize = 48;
/// Rounds of them.
const ROUNDS: u32 = 8;

struct Running {
    runtime: Runtime,
    addr: SocketAddr,
    world: World,
    bearer: String,
}

/// One gateway for all cases; it ends with the process.
static RUNNING: LazyLock<Arc<Running>> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::with(|config| {
        config.head_timeout = Duration::from_secs(1);
        config.body_timeout = Duration::from_secs(1);
        config.deadline = Duration::from_secs(5);
    }));
    Arc::new(Running {
        addr: world.addr,
        runtime,
        world,
        bearer: somebody(),
    })
});

/// Sends each on a connection of its own; returns the status of the first answer, if there was one.
async fn send(addr: SocketAddr, requests: &[Vec<u8>]) -> Vec<Option<StatusCode>> {
    let calls = requests.iter().map(|request| async move {
        let mut raw = Raw::connect(addr).await;
        raw.write(request).await;
        // Ends when the gateway closes, at the latest when it has waited for a further head in vain.
        status(&raw.read_to_end().await)
    });
    join_all(calls).await
}

/// Checks that no answer is a failure of ours, and that the gateway is as well as before.
fn check(requests: &[Vec<u8>]) -> Result<usize, TestCaseError> {
    let running = Arc::clone(&RUNNING);
    let answers = running.runtime.block_on(send(running.addr, requests));
    for (request, answer) in requests.iter().zip(&answers) {
        let text = String::from_utf8_lossy(request);
        let good = answer.as_ref().is_none_or(|status| !status.is_server_error());
        prop_assert!(good, "{text:?}: {answer:?}");
    }
    let order = running
        .runtime
        .block_on(running.world.order(&running.bearer).send());
    prop_assert_eq!(order.status, 200);
    Ok(answers.iter().flatten().count())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = "(GET|POST|PRI|OPTIONS|[A-Z]{1,9}) [ -~]{0,40} HTTP/(1\\.0|1\\.1|2\\.0|9)\r\n";
    let head = "([a-zA-Z-]{1,20}:[ -~]{0,30}\r\n){0,5}\r\n";
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        line.prop_map(String::into_bytes),
        (line, head, prop::collection::vec(any::<u8>(), 0..100)).prop_map(|(line, head, rest)| [
            line.as_bytes(),
            head.as_bytes(),
            &rest
        ]
        .concat()),
    ]
}

const PATHS: &[&str] = &[
    "/",
    "/api/v1/tasks",
    "/api/v1/tasks/task_1",
    "/api/v1/tasks/task_1/cancel",
    "/api/v1/tasks/watch-tickets",
    "/api/v1/features",
    "/api/v1/notifications",
    "/api/v1/notifications/read",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/auth/register",
    "/.well-known/jwks.json",
    "/openapi.json",
    "/docs/",
    "/docs/swagger-ui.css",
    "/errors/INTERNAL",
];

/// Requests that HTTP allows.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = select(
        &[
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ][..],
    );
    let path = prop_oneof![
        4 => select(PATHS).prop_map(ToOwned::to_owned),
        1 => "/[a-zA-Z0-9%/._~:@!$&'()*+,;=-]{0,40}",
    ];
    let query = prop_oneof![
        2 => Just(String::new()),
        1 => "\\?(pageSize|states|last_seq|pageToken|a)=[a-zA-Z0-9%&=+.-]{0,20}",
    ];
    let header = prop_oneof![
        Just("authorization: {bearer}".to_owned()),
        Just("content-encoding: gzip".to_owned()),
        Just("origin: https://evil.example.com".to_owned()),
        Just("access-control-request-method: POST".to_owned()),
        Just("expect: 100-continue".to_owned()),
        "(accept|accept-language|accept-encoding|cookie|range|te|x-[a-z]{1,9}): [ -~]{0,40}",
        "(x-request-id|idempotency-key|traceparent|grpc-timeout|x-forwarded-for): [ -~]{0,40}",
        "content-type: (application/json|text/plain|application/json; charset=[a-z0-9-]{1,9})",
    ];
    let body = prop_oneof![
        Just(ORDER.as_bytes().to_vec()),
        Just(b"{}".to_vec()),
        r#"\{"(featureId|inputData|taskId|phone|all|[a-z]{1,5})":("[^"\\]{0,9}"|[0-9eE.-]{1,9}|null|\[\]|\{\})\}"#
            .prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    let headers = prop::collection::vec(header, 0..5);
    (method, path, query, headers, body, any::<bool>()).prop_map(|(method, path, query, headers, body, json)| {
        let bearer = &RUNNING.bearer;
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let headers = headers.replace("{bearer}", bearer);
        // Half of them come as far as the body.
        let good = format!("authorization: {bearer}\r\ncontent-type: application/json\r\n");
        let good = if json { good } else { String::new() };
        let length = body.len();
        let head = format!(
            "{method} {path}{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{good}{headers}\r\n"
        );
        [head.into_bytes(), body].concat()
    })
}

fn rounds() -> ProptestConfig {
    ProptestConfig {
        cases: ROUNDS,
        // A round takes seconds, and says which request it was.
        max_shrink_iters: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(rounds())]

    #[test]
    fn no_bytes_fail_it_or_hold_it_up(requests in prop::collection::vec(bytes(), AT_ONCE)) {
        check(&requests)?;
    }

    #[test]
    fn every_request_of_http_has_an_answer(requests in prop::collection::vec(request(), AT_ONCE)) {
        let answered = check(&requests)?;
        prop_assert_eq!(answered, requests.len());
    }
}
