//! How failures of services reach a client.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use rpc::error::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::support::{Answer, World, somebody};
use crate::upstream::Plan;

async fn failing(world: &World, status: Status) -> Answer {
    world.upstream.plan([Plan::Fail(status)]);
    let call = world.get("/api/v1/features");
    call.with("authorization", somebody()).send().await
}

#[tokio::test]
async fn a_reason_of_a_service_arrives_with_its_facts() {
    let world = World::new().await;
    let facts = HashMap::from([("available".to_owned(), "3".to_owned())]);
    let status = Reason::QuotaInsufficient.status_with("quota.evenkeel", "3 of 5 are left", facts);
    let answer = failing(&world, status).await;
    answer.expect_reason("QUOTA_INSUFFICIENT");
    let problem = answer.json();
    assert_eq!(problem["detail"], "3 of 5 are left");
    assert_eq!(problem["domain"], "quota.evenkeel");
    assert_eq!(problem["metadata"], serde_json::json!({"available": "3"}));
}

#[tokio::test]
async fn a_service_says_when_to_come_again() {
    let world = World::new().await;
    let mut details = ErrorDetails::with_error_info("RATE_LIMITED", "auth.evenkeel", HashMap::new());
    details.set_retry_info(Some(Duration::from_millis(2_100)));
    let status = Status::with_error_details(Code::ResourceExhausted, "slow down", details);
    let answer = failing(&world, status).await;
    answer.expect_reason("RATE_LIMITED");
    assert_eq!(answer.header("retry-after"), Some("3"));
}

#[tokio::test]
async fn titles_are_in_the_language_of_the_client() {
    let world = World::new().await;
    for (language, expected, tag) in [
        ("zh-CN,zh;q=0.9", Reason::TaskNotFound.text_zh(), "zh-CN"),
        ("en", Reason::TaskNotFound.text_en(), "en"),
        ("fr", Reason::TaskNotFound.text_en(), "en"),
    ] {
        let status = Reason::TaskNotFound.status("task.evenkeel", "no such task");
        world.upstream.plan([Plan::Fail(status)]);
        let call = world
            .get("/api/v1/tasks/task_1")
            .with("authorization", somebody());
        let answer = call.with("accept-language", language).send().await;
        answer.expect_reason("TASK_NOT_FOUND");
        assert_eq!(answer.json()["title"], expected);
        assert_eq!(answer.header("content-language"), Some(tag));
    }
}

#[tokio::test]
async fn what_is_internal_stays_inside() {
    let world = World::new().await;
    let secret = "table accounts at 10.1.2.3";
    for status in [
        Status::internal(secret),
        Status::unknown(secret),
        Status::data_loss(secret),
        Reason::Internal.status("task.evenkeel", secret),
    ] {
        let answer = failing(&world, status).await;
        answer.expect_reason("INTERNAL");
        assert!(!String::from_utf8_lossy(&answer.body).contains("accounts"));
    }
}

#[tokio::test]
async fn a_status_without_a_reason_gets_the_nearest_and_keeps_its_text() {
    let world = World::new().await;
    let secret = "h2 error at 10.1.2.3";
    for (code, reason) in [
        (Code::InvalidArgument, "INVALID_ARGUMENT"),
        (Code::NotFound, "ROUTE_NOT_FOUND"),
        (Code::PermissionDenied, "PERMISSION_DENIED"),
        (Code::Unauthenticated, "UNAUTHENTICATED"),
        (Code::ResourceExhausted, "OVERLOADED"),
        (Code::Unavailable, "UNAVAILABLE"),
        (Code::Unimplemented, "UNAVAILABLE"),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Code::Cancelled, "DEADLINE_EXCEEDED"),
    ] {
        let answer = failing(&world, Status::new(code, secret)).await;
        answer.expect_reason(reason);
        assert!(!String::from_utf8_lossy(&answer.body).contains("10.1.2.3"));
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_given_up() {
    let world = World::with(|config| config.deadline = Duration::from_millis(300)).await;
    world.upstream.plan([Plan::Never]);
    let answer = world.order(&somebody()).send().await;
    answer.expect_reason("DEADLINE_EXCEEDED");
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    let seen = world.upstream.last();
    assert_eq!(seen.header("grpc-timeout"), Some("300000u"));
    // Nothing is held for it: the next is answered.
    assert_eq!(world.order(&somebody()).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable() {
    let world = World::alone().await;
    let answer = world.order(&somebody()).send().await;
    answer.expect_reason("UNAVAILABLE");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(!detail.contains("127.0.0.1"), "{detail}");
    let watch = world.get("/api/v1/tasks/watch");
    let watch = watch.with("authorization", somebody()).send().await;
    watch.expect_reason("UNAVAILABLE");
    // What needs no service is still there.
    assert_eq!(world.get("/openapi.json").send().await.status, StatusCode::OK);
}
