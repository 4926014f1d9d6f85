//! From messages to HTTP.

use prost::Message;
use prost_reflect::DynamicMessage;
use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value as Free};
use proto::auth::v1::{Gender, GetMeResponse, User};
use proto::quota::v1::{Balance, GetBalanceResponse};
use proto::saga::v1::GetStatusResponse;
use proto::task::v1::{CreateTaskResponse, GetTaskResponse, ListTasksResponse, Task, TaskState};
use serde_json::{Value, json};

use crate::transcoder;

fn answer<M: Message>(verb: &str, path: &str, message: &M) -> Value {
    let transcoder = transcoder();
    let route = transcoder.route(&verb.parse().unwrap(), path).unwrap();
    let message =
        DynamicMessage::decode(route.method().output(), message.encode_to_vec().as_slice()).unwrap();
    serde_json::from_slice(&route.response(&message)).unwrap()
}

fn task() -> Task {
    let number = |n| Free {
        kind: Some(Kind::NumberValue(n)),
    };
    Task {
        task_id: "task_1".to_owned(),
        state: TaskState::Processing.into(),
        amount: 9_007_199_254_740_993,
        input_data: Some(Struct {
            fields: [("n".to_owned(), number(3.0)), ("f".to_owned(), number(0.5))].into(),
        }),
        created_at: Some(Timestamp {
            seconds: 1_700_000_000,
            nanos: 5_000_000,
        }),
        ..Task::default()
    }
}

#[test]
fn a_task_is_shown_as_promised() {
    let shown = answer(
        "POST",
        "/api/v1/tasks",
        &CreateTaskResponse { task: Some(task()) },
    );
    let expected = json!({
        "taskId": "task_1", "userId": "", "featureId": "", "inputData": {"n": 3, "f": 0.5}, "status": "PROCESSING",
        "errorReason": "", "errorMessage": "", "sagaId": "", "amount": 9_007_199_254_740_993_i64, "stepsDone": 0,
        "stepsTotal": 0, "createdAt": "2023-11-14T22:13:20.005Z"
    });
    assert_eq!(shown, expected);
}

#[test]
fn what_may_be_absent_is_and_the_rest_is_there() {
    assert_eq!(
        answer("GET", "/api/v1/tasks/t", &GetTaskResponse { task: None }),
        json!({})
    );
    let listed = answer("GET", "/api/v1/tasks", &ListTasksResponse::default());
    assert_eq!(listed, json!({"tasks": [], "nextPageToken": ""}));
    let user = User {
        gender: Gender::Unspecified.into(),
        quota_remaining: Some(0),
        ..User::default()
    };
    let shown = answer("GET", "/api/v1/users/me", &GetMeResponse { user: Some(user) });
    assert_eq!(
        (&shown["quotaRemaining"], &shown["gender"]),
        (&json!(0), &json!("UNSPECIFIED"))
    );
    let balance = Balance {
        quota_remaining: 7,
        ..Balance::default()
    };
    let shown = answer(
        "GET",
        "/api/v1/quota",
        &GetBalanceResponse {
            balance: Some(balance),
        },
    );
    assert_eq!(shown["quotaRemaining"], 7);
}

#[test]
fn counts_of_sagas_are_numbers() {
    let status = GetStatusResponse {
        total: 200,
        failed: 1,
        success_rate: "99.50%".to_owned(),
        ..GetStatusResponse::default()
    };
    let shown = answer("GET", "/admin/sagas/metrics", &status);
    assert_eq!(
        (&shown["total"], &shown["running"], &shown["successRate"]),
        (&json!(200), &json!(0), &json!("99.50%"))
    );
}

#[test]
fn a_value_that_a_newer_server_knows_is_its_number() {
    let task = Task {
        state: 99,
        ..Task::default()
    };
    let shown = answer("GET", "/api/v1/tasks/t", &GetTaskResponse { task: Some(task) });
    assert_eq!(shown["status"], 99);
}
