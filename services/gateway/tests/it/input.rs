//! Bodies and queries that are wrong are refused in the one shape, and no service hears of them.

use http::Method;

use crate::support::{World, somebody};

async fn refused(body: impl AsRef<[u8]>, reason: &str) {
    let world = World::new().await;
    let bearer = somebody();
    let body = body.as_ref().to_vec();
    for key in [None, Some("key-1")] {
        let call = world
            .post("/api/v1/tasks", body.clone())
            .with("authorization", &bearer);
        let call = match key {
            Some(key) => call.with("idempotency-key", key),
            None => call,
        };
        let answer = call.send().await;
        answer.expect_reason(reason);
        assert_eq!(answer.status, 400);
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused() {
    refused(r#"{"featureId":7}"#, "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    refused("[1]", "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn a_field_that_is_unknown_is_refused() {
    refused(r#"{"featureId":"x","colour":"red"}"#, "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn a_body_that_is_cut_is_refused() {
    refused(r#"{"featureId":"image.res"#, "MALFORMED_BODY").await;
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_refused() {
    refused(r#"{"featureId":"a","featureId":"b"}"#, "MALFORMED_BODY").await;
}

#[tokio::test]
async fn both_spellings_of_one_field_are_refused() {
    refused(r#"{"featureId":"a","feature_id":"b"}"#, "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_refused() {
    refused(b"{\"featureId\":\"\xff\"}", "MALFORMED_BODY").await;
}

#[tokio::test]
async fn a_body_with_more_behind_it_is_refused() {
    refused(r#"{"featureId":"a"}{}"#, "MALFORMED_BODY").await;
}

#[tokio::test]
async fn a_body_that_is_too_deep_is_refused() {
    let deep = format!(
        "{{\"inputData\":{{\"a\":{}{}}}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    refused(deep, "MALFORMED_BODY").await;
}

#[tokio::test]
async fn a_refusal_says_where() {
    let world = World::new().await;
    let bearer = somebody();
    let send = async |body: &'static str| {
        let call = world.post("/api/v1/tasks", body).with("authorization", &bearer);
        call.send().await.json()
    };
    let problem = send(r#"{"featureId":7}"#).await;
    assert_eq!(problem["metadata"]["field"], "featureId");
    let problem = send("{\n  \"featureId\": oops}").await;
    assert_eq!(problem["metadata"]["line"], "2");
}

#[tokio::test]
async fn a_query_that_is_wrong_is_refused() {
    let world = World::new().await;
    let bearer = somebody();
    for query in [
        "pageSize=x",
        "pageSize=-1",
        "pageSize=1&pageSize=2",
        "colour=red",
        "states=PURPLE",
        "pageToken=%FF",
        "pageToken=%zz",
    ] {
        let path = format!("/api/v1/tasks?{query}");
        let answer = world.get(&path).with("authorization", &bearer).send().await;
        answer.expect_reason("INVALID_ARGUMENT");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn whoever_may_not_call_is_told_so_before_the_body_is_looked_at() {
    let world = World::new().await;
    let call = world.call(Method::POST, "/api/v1/tasks").body("nonsense");
    call.send().await.expect_reason("UNAUTHENTICATED");
}
