//! What a service is told of an HTTP request, and what it is not told.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use ids::UserId;
use test_support::identities;
use token::Role;

use crate::support::{World, believed_for, somebody};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LOGIN: &str = r#"{"phone":"+8613800138000","password":"correct horse"}"#;

#[tokio::test]
async fn a_service_is_told_what_is_on_the_list_and_nothing_else() {
    let world = World::new().await;
    let bearer = somebody();
    let call = world
        .order(&bearer)
        .with("accept-language", "zh-CN")
        .with("x-request-id", "order-17.try_2")
        .with("traceparent", TRACEPARENT)
        .with("idempotency-key", "key-1")
        // What a client would be, if it could.
        .with("evenkeel-client-ip", "1.2.3.4")
        .with("evenkeel-actor", "root")
        .with("evenkeel-saga-id", "saga_1")
        .with("x-user-id", "user_1")
        .with("x-forwarded-for", "1.2.3.4")
        .with("grpc-timeout", "99H")
        .with("grpc-status", "0")
        .with("cookie", "a=b");
    let answer = call.send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-request-id"), Some("order-17.try_2"));

    let seen = world.upstream.last();
    assert_eq!(seen.method, "create_task");
    // What the protocol and its library say about themselves.
    let transport = ["content-type", "te", "user-agent"];
    let names = seen.metadata.keys().map(http::HeaderName::as_str);
    let mut names: Vec<&str> = names.filter(|name| !transport.contains(name)).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-language",
            "authorization",
            "evenkeel-client-ip",
            "grpc-timeout",
            "idempotency-key",
            "traceparent",
            "x-request-id"
        ]
    );
    assert_eq!(seen.header("authorization"), Some(&*bearer));
    assert_eq!(seen.header("accept-language"), Some("zh-CN"));
    assert_eq!(seen.header("x-request-id"), Some("order-17.try_2"));
    assert_eq!(seen.header("idempotency-key"), Some("key-1"));
    assert_eq!(seen.header("evenkeel-client-ip"), Some("127.0.0.1"));
    // The same trace, and a span of the gateway's own, unless nothing records spans here.
    let trace = seen.header("traceparent").unwrap();
    assert_eq!(trace.split('-').nth(1), TRACEPARENT.split('-').nth(1));
}

#[tokio::test]
async fn requests_without_an_id_or_a_trace_get_one() {
    let world = World::new().await;
    for bad in ["", "a b", &"x".repeat(65)] {
        let call = world.order(&somebody()).with("x-request-id", bad);
        let call = call.with("traceparent", "00-zz");
        let answer = call.send().await;
        let id = answer.header("x-request-id").unwrap();
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
        let seen = world.upstream.last();
        assert_eq!(seen.header("x-request-id"), Some(id));
        let trace = seen.header("traceparent").unwrap();
        telemetry::trace::parse_traceparent(trace).unwrap();
    }
}

#[tokio::test]
async fn an_address_is_believed_from_a_trusted_proxy_only() {
    let forwarded = "198.51.100.7, 203.0.113.9";
    for (trusted, expected) in [(vec![], "127.0.0.1"), (vec!["127.0.0.0/8"], "203.0.113.9")] {
        let world = World::with(|config| {
            config.trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
        })
        .await;
        let call = world.order(&somebody()).with("x-forwarded-for", forwarded);
        assert_eq!(call.send().await.status, StatusCode::OK);
        let seen = world.upstream.last();
        assert_eq!(seen.header("evenkeel-client-ip"), Some(expected));
    }
}

#[tokio::test]
async fn on_a_public_route_a_token_that_is_not_believed_stays_here() {
    let world = World::new().await;
    let user = UserId::new();
    let expired = believed_for(user, -5);
    let tampered = format!("{}x", somebody());
    for (token, passes) in [
        (None, false),
        (Some(expired.as_str()), false),
        (Some(tampered.as_str()), false),
        (Some("Bearer nonsense"), false),
        (Some("Basic dXNlcjpwYXNz"), false),
        (Some(&*somebody()), true),
    ] {
        let call = world.post("/api/v1/auth/login", LOGIN);
        let call = match token {
            Some(token) => call.with("authorization", token),
            None => call,
        };
        assert_eq!(call.send().await.status, StatusCode::OK, "{token:?}");
        let seen = world.upstream.last();
        assert_eq!(seen.method, "login");
        assert_eq!(seen.header("authorization").is_some(), passes, "{token:?}");
    }
}

#[tokio::test]
async fn without_a_token_that_is_believed_nobody_else_is_called() {
    let world = World::new().await;
    let now = SystemTime::now();
    let service = identities()
        .credentials("task")
        .token(&"gateway".parse().unwrap(), now);
    let elsewhere = identities()
        .credentials("task")
        .token(&"task".parse().unwrap(), now);
    let tampered = somebody().replace('.', "._");
    for (token, reason, challenge) in [
        (None, "UNAUTHENTICATED", "Bearer"),
        (
            Some(believed_for(UserId::new(), -5)),
            "TOKEN_EXPIRED",
            "Bearer error=\"invalid_token\"",
        ),
        (Some(tampered), "TOKEN_INVALID", "Bearer error=\"invalid_token\""),
        (
            Some(format!("Bearer {elsewhere}")),
            "TOKEN_INVALID",
            "Bearer error=\"invalid_token\"",
        ),
        // Services call each other over gRPC, whatever the route.
        (
            Some(format!("Bearer {service}")),
            "TOKEN_INVALID",
            "Bearer error=\"invalid_token\"",
        ),
    ] {
        let call = world.get("/api/v1/features");
        let call = match &token {
            Some(token) => call.with("authorization", token),
            None => call,
        };
        let answer = call.send().await;
        answer.expect_reason(reason);
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{token:?}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn administration_is_for_administrators() {
    let world = World::new().await;
    let ban = |bearer: String| {
        let path = format!("/api/v1/admin/users/{}/ban", UserId::new());
        world
            .post(&path, r#"{"reason":"spam"}"#)
            .with("authorization", bearer)
    };
    ban(somebody()).send().await.expect_reason("PERMISSION_DENIED");
    let admin = UserId::new();
    // The fake has no such service: whoever comes so far is let in.
    let bearer = identities().bearer(admin, Role::Admin);
    ban(bearer.clone()).send().await.expect_reason("UNAVAILABLE");
    // Everything older than the first epoch has been revoked.
    let epoch = token::epoch_key(admin);
    let minute = Duration::from_secs(60);
    world.kv.put(&epoch, b"1", minute).await.unwrap();
    ban(bearer).send().await.expect_reason("TOKEN_REVOKED");
}

#[tokio::test]
async fn parameters_and_body_become_one_message() {
    let world = World::new().await;
    let bearer = somebody();
    let call = world.post("/api/v1/tasks/task_9/cancel", r#"{"reason":"changed my mind"}"#);
    assert_eq!(
        call.with("authorization", &bearer).send().await.status,
        StatusCode::OK
    );
    let seen = world.upstream.last().message;
    assert!(
        seen.contains("task_9") && seen.contains("changed my mind"),
        "{seen}"
    );

    let call = world.get("/api/v1/tasks?pageSize=7&states=PENDING&states=FAILED");
    let answer = call.with("authorization", &bearer).send().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // Fields that hold nothing are written.
    assert_eq!(
        answer.json(),
        serde_json::json!({"tasks": [], "nextPageToken": ""})
    );
    let seen = world.upstream.last().message;
    assert!(seen.contains("page_size: 7"), "{seen}");

    let answer = world.order(&bearer).send().await.json();
    assert_eq!(answer["status"], "PENDING");
    assert_eq!(answer["inputData"], serde_json::json!({"width": 8}));
}

#[tokio::test]
async fn a_path_that_is_written_otherwise_is_the_same_path() {
    let world = World::new().await;
    let bearer = somebody();
    let get = async |path: &str| {
        let call = world.call(Method::GET, path).with("authorization", &bearer);
        call.send().await
    };
    assert_eq!(get("/api/v1/tasks/task%5F1").await.json()["taskId"], "task_1");
    assert_eq!(get("/api/v1/tasks/a%2Fb").await.json()["taskId"], "a/b");
    get("/api/v1/tasks/%FF").await.expect_reason("INVALID_ARGUMENT");
}
