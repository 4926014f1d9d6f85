//! What payment providers tell passes as it came.

use http::{Method, StatusCode};
use rpc::error::Reason;

use crate::support::{World, somebody};
use crate::upstream::Plan;

const WECHAT: &str = "/api/v1/payments/notify/wechat";
const ALIPAY: &str = "/api/v1/payments/notify/alipay";

#[tokio::test]
async fn the_bytes_and_the_signed_headers_pass_as_they_came() {
    let world = World::new().await;
    let body = b"\xff\x00{\"a\": 1, \"a\": 2}".to_vec();
    let call = world
        .call(Method::POST, WECHAT)
        .with("wechatpay-signature", "c2ln")
        .with("wechatpay-nonce", "n")
        .with("content-type", "application/json")
        .with("cookie", "a=b")
        .with("authorization", somebody());
    let answer = call.body(body.clone()).send().await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.body, body.len().to_string().into_bytes());

    let seen = world.upstream.last();
    assert_eq!(seen.method, "ReceiveNotify");
    assert_eq!(seen.header("authorization"), None);
    assert!(seen.header("x-request-id").is_some());
    for passed in ["wechatpay-signature", "wechatpay-nonce", "Wechat", r"\xff\0{"] {
        assert!(seen.message.contains(passed), "{passed} in {}", seen.message);
    }
    assert!(!seen.message.contains("cookie"), "{}", seen.message);
}

#[tokio::test]
async fn each_provider_has_a_path_of_its_own() {
    let world = World::new().await;
    world.call(Method::POST, ALIPAY).body("a=b").send().await;
    assert!(world.upstream.last().message.contains("Alipay"));
    for path in [
        "/api/v1/payments/notify/paypal",
        "/api/v1/payments/notify/wechat/",
    ] {
        let answer = world.call(Method::POST, path).body("a=b").send().await;
        answer.expect_reason("ROUTE_NOT_FOUND");
    }
    let answer = world.get(WECHAT).send().await;
    answer.expect_reason("METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_notification_that_is_too_large_is_refused_here() {
    let world = World::new().await;
    let large = vec![b'x'; 256 * 1024 + 1];
    let answer = world.call(Method::POST, WECHAT).body(large).send().await;
    answer.expect_reason("PAYLOAD_TOO_LARGE");
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_provider_is_told_to_send_again_while_nobody_takes_it() {
    let world = World::new().await;
    let away = Reason::Unavailable.status("billing.evenkeel", "away");
    world.upstream.plan([Plan::Fail(away)]);
    let answer = world.call(Method::POST, WECHAT).body("{}").send().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    answer.expect_reason("UNAVAILABLE");
}

#[tokio::test]
async fn the_document_describes_the_routes() {
    let world = World::new().await;
    for path in [WECHAT, ALIPAY] {
        let post = &world.openapi["paths"][path]["post"];
        assert_eq!(post["security"], serde_json::json!([]), "{path}");
    }
}
