//! Who may see and cancel whose tasks.

use ids::UserId;
use proto::task::v1 as pb;
use rpc::error::info;
use serde_json::json;
use test_support::identities;
use token::Role;
use tonic::{Request, Status};

use crate::world::{World, simple, structure};

/// A request with the token of a user.
fn by<T>(user: UserId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = identities().bearer(user, Role::User);
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    request
}

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    info(&result.unwrap_err()).unwrap().reason
}

fn wish(request_id: &str) -> pb::CreateTaskRequest {
    pb::CreateTaskRequest {
        feature_id: "simple".to_owned(),
        input_data: Some(structure(&json!({ "text": "x" }))),
        request_id: request_id.to_owned(),
        ..pb::CreateTaskRequest::default()
    }
}

async fn create(world: &World, request: Request<pb::CreateTaskRequest>) -> Result<pb::Task, Status> {
    let answer = world.tasks.clone().create_task(request).await?;
    Ok(answer.into_inner().task.unwrap())
}

#[tokio::test]
async fn a_user_need_not_name_itself_and_may_not_name_another() {
    let world = World::new(simple()).await;
    let (user, other) = (UserId::new(), UserId::new());
    let task = create(&world, by(user, wish("r-1"))).await.unwrap();
    assert_eq!(task.user_id, user.to_string());
    let theirs = pb::CreateTaskRequest {
        user_id: other.to_string(),
        ..wish("r-1")
    };
    assert_eq!(
        reason(create(&world, by(user, theirs)).await),
        "PERMISSION_DENIED"
    );
    let mut tasks = world.tasks.clone();
    let mine = tasks
        .list_tasks(by(user, pb::ListTasksRequest::default()))
        .await
        .unwrap();
    assert_eq!(mine.into_inner().tasks.len(), 1);
    let theirs = pb::ListTasksRequest {
        user_id: other.to_string(),
        ..pb::ListTasksRequest::default()
    };
    assert_eq!(
        reason(tasks.list_tasks(by(user, theirs)).await),
        "PERMISSION_DENIED"
    );
}

#[tokio::test]
async fn somebody_elses_task_does_not_exist() {
    let world = World::new(simple()).await;
    let (user, stranger) = (UserId::new(), UserId::new());
    let task_id = create(&world, by(user, wish("r-1"))).await.unwrap().task_id;
    let mut tasks = world.tasks.clone();
    let get = pb::GetTaskRequest {
        task_id: task_id.clone(),
    };
    let cancel = pb::CancelTaskRequest {
        task_id,
        reason: "mine".to_owned(),
    };
    assert!(tasks.get_task(by(user, get.clone())).await.is_ok());
    assert_eq!(
        reason(tasks.get_task(by(stranger, get.clone())).await),
        "TASK_NOT_FOUND"
    );
    assert_eq!(
        reason(tasks.cancel_task(by(stranger, cancel)).await),
        "TASK_NOT_FOUND"
    );
    // A service sees everybody's.
    assert!(tasks.get_task(get).await.is_ok());
}

#[tokio::test]
async fn the_key_of_an_http_request_stands_for_an_absent_request_id() {
    let world = World::new(simple()).await;
    let user = UserId::new();
    let keyed = |request_id, key: &str| {
        let mut request = by(user, wish(request_id));
        request
            .metadata_mut()
            .insert("idempotency-key", key.parse().unwrap());
        request
    };
    let first = create(&world, keyed("", "k-1")).await.unwrap().task_id;
    assert_eq!(create(&world, keyed("", "k-1")).await.unwrap().task_id, first);
    assert_ne!(create(&world, keyed("", "k-2")).await.unwrap().task_id, first);
    // What the request says itself goes first.
    let named = create(&world, keyed("r-1", "k-1")).await.unwrap().task_id;
    assert_ne!(named, first);
    assert_eq!(
        create(&world, by(user, wish("r-1"))).await.unwrap().task_id,
        named
    );
    let long = "k".repeat(129);
    assert_eq!(reason(create(&world, keyed("", &long)).await), "INVALID_ARGUMENT");
}
