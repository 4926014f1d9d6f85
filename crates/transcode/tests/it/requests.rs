//! From HTTP to messages.

use proptest::prelude::*;
use prost::Message as _;
use proto::task::v1::{CreateTaskRequest, ListTasksRequest, TaskState};
use rpc::error::Reason;

use crate::{request, transcoder};

fn create(body: &str) -> CreateTaskRequest {
    let message = request("POST", "/api/v1/tasks", body.as_bytes()).unwrap();
    CreateTaskRequest::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn list(query: &str) -> ListTasksRequest {
    let message = request("GET", &format!("/api/v1/tasks?{query}"), b"").unwrap();
    ListTasksRequest::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn refused(verb: &str, target: &str, body: &[u8]) -> (Reason, String) {
    let error = request(verb, target, body).unwrap_err();
    (error.reason, error.message)
}

#[test]
fn both_spellings_mean_the_same() {
    let camel = create(r#"{"featureId": "summarize", "inputData": {"text": "x", "n": [1, null]}}"#);
    let snake = create(r#"{"feature_id": "summarize", "input_data": {"text": "x", "n": [1, null]}}"#);
    assert_eq!(camel, snake);
    assert_eq!(camel.feature_id, "summarize");
    assert!(camel.input_data.unwrap().fields.contains_key("text"));
}

#[test]
fn an_empty_body_is_an_empty_message_and_null_is_absent() {
    assert_eq!(create(""), CreateTaskRequest::default());
    assert_eq!(create("{}"), CreateTaskRequest::default());
    assert_eq!(create(r#"{"featureId": null}"#), CreateTaskRequest::default());
}

#[test]
fn a_query_fills_what_the_path_does_not() {
    let listed = list("pageSize=7&states=PENDING&states=TASK_STATE_FAILED&states=3&page_token=a%20b%2B");
    assert_eq!((listed.page_size, listed.page_token.as_str()), (7, "a b+"));
    assert_eq!(
        listed.states,
        [TaskState::Pending as i32, TaskState::Failed as i32, 3]
    );
    let message = request("GET", "/api/v1/tasks/task_%31", b"").unwrap();
    assert_eq!(
        message.get_field_by_name("task_id").unwrap().as_str(),
        Some("task_1")
    );
    let message = request(
        "GET",
        "/api/v1/admin/sagas?olderThan=90s&needs_attention=true",
        b"",
    )
    .unwrap();
    let listed = proto::saga::v1::ListSagasRequest::decode(message.encode_to_vec().as_slice()).unwrap();
    assert_eq!(
        (listed.older_than.unwrap().seconds, listed.needs_attention),
        (90, true)
    );
}

#[test]
fn a_path_and_its_body_may_agree() {
    let cancel = |body: &[u8]| request("POST", "/api/v1/tasks/task_1/cancel", body);
    let message = cancel(br#"{"reason": "r", "taskId": "task_1"}"#).unwrap();
    assert_eq!(message.get_field_by_name("reason").unwrap().as_str(), Some("r"));
    let error = cancel(br#"{"taskId": "task_2"}"#).unwrap_err();
    assert!(
        error.message.contains("task_id is another in the path"),
        "{error}"
    );
}

#[test]
fn enums_of_profiles_come_with_and_without_their_prefix() {
    for body in [
        r#"{"gender": "FEMALE"}"#,
        r#"{"gender": "GENDER_FEMALE"}"#,
        r#"{"gender": 1}"#,
    ] {
        let message = request("PATCH", "/api/v1/users/me", body.as_bytes()).unwrap();
        assert_eq!(
            message.get_field_by_name("gender").unwrap().as_enum_number(),
            Some(1),
            "{body}"
        );
    }
}

#[test]
fn a_wrong_request_names_what_is_wrong() {
    let tasks = "/api/v1/tasks";
    for (body, reason, named) in [
        (&b"{"[..], Reason::MalformedBody, "column"),
        (b"[]", Reason::InvalidArgument, "must be an object"),
        (b"\"x\"", Reason::InvalidArgument, "must be an object"),
        (b"{} x", Reason::MalformedBody, "trailing"),
        (b"{\"featureId\": \"\xff\"}", Reason::MalformedBody, "UTF-8"),
        (
            br#"{"featureId": "a", "featureId": "b"}"#,
            Reason::MalformedBody,
            "comes twice",
        ),
        (
            br#"{"featureId": "a", "feature_id": "b"}"#,
            Reason::InvalidArgument,
            "feature_id comes twice",
        ),
        (
            br#"{"featureId": 7}"#,
            Reason::InvalidArgument,
            "featureId must be a text",
        ),
        (
            br#"{"featureId": {"a": 1}}"#,
            Reason::InvalidArgument,
            "featureId must be a text",
        ),
        (
            br#"{"inputData": "x"}"#,
            Reason::InvalidArgument,
            "inputData must be an object",
        ),
        (
            br#"{"unknown": 1}"#,
            Reason::InvalidArgument,
            "unknown is not known",
        ),
    ] {
        let (found, message) = refused("POST", tasks, body);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(named), "{message}");
    }
    let grant = "/api/v1/admin/quota/grants";
    for (body, named) in [
        (r#"{"amount": 1.5}"#, "amount must be an integer of 64 bits"),
        (r#"{"amount": "1x"}"#, "amount must be an integer of 64 bits"),
        (
            r#"{"amount": 9223372036854775808}"#,
            "amount must be an integer of 64 bits",
        ),
        (
            r#"{"priority": 2147483648}"#,
            "priority must be an integer of 32 bits",
        ),
        (r#"{"priority": true}"#, "priority must be"),
    ] {
        let (_, message) = refused("POST", grant, body.as_bytes());
        assert!(message.contains(named), "{message}");
    }
    for (target, named) in [
        ("/api/v1/tasks?x=1", "x is not known"),
        ("/api/v1/tasks?pageSize=1&page_size=2", "page_size comes twice"),
        ("/api/v1/tasks?pageSize=-1", "pageSize must be"),
        ("/api/v1/tasks?states=NONE", "states must be one of PENDING"),
        ("/api/v1/tasks?pageSize=%zz", "percent"),
        ("/api/v1/tasks/t?taskId=u", "taskId comes twice"),
        ("/api/v1/admin/sagas?olderThan=soon", "olderThan must be seconds"),
        ("/api/v1/admin/sagas?older_than.seconds=1", "is not known"),
    ] {
        let (_, message) = refused("GET", target, b"");
        assert!(message.contains(named), "{target}: {message}");
    }
    assert!(refused("GET", tasks, b"{}").1.contains("takes no body"));
    assert!(
        refused("POST", "/api/v1/tasks?featureId=a", b"")
            .1
            .contains("in the body")
    );
}

proptest! {
    #[test]
    fn any_body_and_query_are_answered_without_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..80), query in "[a-zA-Z=&%.0-9_]{0,40}"
    ) {
        let transcoder = transcoder();
        let route = transcoder.route(&http::Method::POST, "/api/v1/tasks").unwrap();
        let _ = route.request(None, Some(&body));
        let route = transcoder.route(&http::Method::GET, "/api/v1/admin/sagas").unwrap();
        let _ = route.request(Some(&query), None);
    }

    #[test]
    fn any_path_is_answered_without_a_panic(path in "\\PC{0,40}") {
        let _ = transcoder().route(&http::Method::GET, &path);
    }
}
