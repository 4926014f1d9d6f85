//! The public service, with an orchestrator that really runs the steps.

use std::time::Duration;

use doubles::ai::{Behaviour, Rule};
use ids::{TaskId, UserId};
use proto::task::v1 as pb;
use proto::task::v1::TaskState;
use serde_json::{Value, json};
use test_support::eventually;
use tonic::{Code, Status};

use crate::fake_sagas::Hiccup;
use crate::world::{DEADLINE, World, reason, simple, structure, value};

fn wish(user: UserId, request_id: &str, input: &Value) -> pb::CreateTaskRequest {
    pb::CreateTaskRequest {
        user_id: user.to_string(),
        feature_id: "simple".to_owned(),
        input_data: Some(structure(input)),
        request_id: request_id.to_owned(),
    }
}

async fn create(world: &World, wish: pb::CreateTaskRequest) -> Result<pb::Task, Status> {
    let answer = world.tasks.clone().create_task(wish).await?;
    Ok(answer.into_inner().task.unwrap())
}

async fn get(world: &World, task_id: &str) -> Result<pb::Task, Status> {
    let request = pb::GetTaskRequest {
        task_id: task_id.to_owned(),
    };
    let answer = world.tasks.clone().get_task(request).await?;
    Ok(answer.into_inner().task.unwrap())
}

async fn cancel(world: &World, task_id: &str) -> Result<pb::Task, Status> {
    let request = pb::CancelTaskRequest {
        task_id: task_id.to_owned(),
        reason: "changed my mind".to_owned(),
    };
    let answer = world.tasks.clone().cancel_task(request).await?;
    Ok(answer.into_inner().task.unwrap())
}

async fn until(world: &World, task_id: &str, state: TaskState) -> pb::Task {
    eventually(DEADLINE, || async {
        let task = get(world, task_id).await.unwrap();
        if task.state() == state {
            Ok(task)
        } else {
            Err(task.state())
        }
    })
    .await
}

async fn tasks(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from tasks")
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_task_is_created_runs_and_shows_its_result() {
    let world = World::new(simple()).await;
    let user = UserId::new();
    let input = json!({ "text": "hello", "n": 3 });
    let task = create(&world, wish(user, "r-1", &input)).await.unwrap();
    assert_eq!(
        (task.user_id.clone(), task.amount, task.steps_total),
        (user.to_string(), 1, 2)
    );
    let done = until(&world, &task.task_id, TaskState::Completed).await;
    assert_eq!(
        value(&done.result.unwrap()),
        json!({ "said": "You said: say hello" })
    );
    assert_eq!(done.input_data, Some(structure(&input)));
    assert_eq!((done.steps_done, done.error_reason.as_str()), (2, ""));
    assert!(done.finished_at.is_some());
    assert_eq!(world.sagas.quota(), 999);
    assert_eq!(world.sagas.actors(), [format!("task/{user}")]);
}

#[tokio::test]
async fn every_number_that_json_has_comes_back_as_it_went_in() {
    let world = World::new(simple()).await;
    let user = UserId::new();
    let input = json!({
        "text": "hello",
        "numbers": [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 1.0 / 3.0, 9_007_199_254_740_993_i64, -0.0],
    });
    let task = create(&world, wish(user, "r-1", &input)).await.unwrap();
    let done = until(&world, &task.task_id, TaskState::Completed).await;
    assert_eq!(done.input_data, Some(structure(&input)));
    // The same again is the same task, and one such task does not hide the others.
    let again = create(&world, wish(user, "r-1", &input)).await.unwrap();
    assert_eq!(again.task_id, task.task_id);
    let request = pb::ListTasksRequest {
        user_id: user.to_string(),
        ..pb::ListTasksRequest::default()
    };
    assert_eq!(list(&world, request).await.unwrap().tasks.len(), 1);
}

#[tokio::test]
async fn without_quota_there_is_no_task_and_the_caller_is_told() {
    let world = World::new(simple()).await;
    world.sagas.set_quota(0);
    let user = UserId::new();
    for _ in 0..2 {
        let status = create(&world, wish(user, "r-1", &json!({}))).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("QUOTA_INSUFFICIENT", "quota.evenkeel")
        );
        assert_eq!(status.message(), "1 wanted, 0 available");
    }
    assert_eq!(tasks(&world).await, 0);
}

#[tokio::test]
async fn the_same_request_is_the_same_task() {
    let world = World::new(simple()).await;
    let user = UserId::new();
    let input = json!({ "text": "x", "big": 1e17, "small": 0.1, "list": [null, true] });
    let first = create(&world, wish(user, "r-1", &input)).await.unwrap();
    let again = create(&world, wish(user, "r-1", &input)).await.unwrap();
    assert_eq!(first.task_id, again.task_id);
    let other = create(&world, wish(user, "r-1", &json!({ "text": "y" })))
        .await
        .unwrap_err();
    assert_eq!(reason(&other), "TASK_MISMATCH");
    let stranger = create(&world, wish(UserId::new(), "r-1", &input)).await.unwrap();
    assert_ne!(stranger.task_id, first.task_id);
    let unnamed = create(&world, wish(user, "", &input)).await.unwrap();
    assert_ne!(unnamed.task_id, first.task_id);
}

#[tokio::test]
async fn a_wait_that_is_over_is_unavailable_and_a_retry_finds_the_task() {
    let world =
        World::without_worker(simple(), |config| config.create_wait = Duration::from_millis(100)).await;
    world.sagas.stall(true);
    let user = UserId::new();
    let status = create(&world, wish(user, "r-1", &json!({}))).await.unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
    assert!(
        status
            .message()
            .contains("a retry with request_id \"r-1\" finds the same task"),
        "{status}"
    );
    let other = create(&world, wish(user, "r-1", &json!({ "a": 1 })))
        .await
        .unwrap_err();
    assert_eq!(reason(&other), "TASK_MISMATCH");
    world.sagas.stall(false);
    eventually(DEADLINE, || create(&world, wish(user, "r-1", &json!({})))).await;
    assert_eq!(tasks(&world).await, 1);
}

#[tokio::test]
async fn a_waiting_create_holds_no_connection() {
    let world = World::without_worker(simple(), |_| {}).await;
    world.sagas.stall(true);
    let waiting = {
        let (mut client, wish) = (world.tasks.clone(), wish(UserId::new(), "r-1", &json!({})));
        tokio::spawn(async move { client.create_task(wish).await })
    };
    eventually(DEADLINE, || async { !world.sagas.actors().is_empty() }).await;
    // A connection goes back to the pool a moment after its use.
    eventually(DEADLINE, || async {
        let idle = u32::try_from(world.pool.num_idle()).unwrap();
        world.pool.size() == idle
    })
    .await;
    assert!(!waiting.is_finished(), "the create was to wait");
    world.sagas.stall(false);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_orchestrator_that_is_down_is_unavailable() {
    let world = World::without_worker(simple(), |_| {}).await;
    world.sagas.break_down();
    let status = create(&world, wish(UserId::new(), "r-1", &json!({})))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
    assert!(!status.message().contains("down"), "internals leak: {status}");
}

#[tokio::test]
async fn orchestrators_that_end_or_die_during_a_create_are_not_noticed() {
    let world = World::new(simple()).await;
    world
        .sagas
        .falter(&[Hiccup::Broken, Hiccup::Ending, Hiccup::Broken, Hiccup::Ending]);
    let input = json!({ "text": "hello", "n": 3 });
    let task = create(&world, wish(UserId::new(), "r-1", &input)).await.unwrap();
    until(&world, &task.task_id, TaskState::Completed).await;
    assert_eq!(
        world.sagas.actors().len(),
        5,
        "the start was made again each time"
    );
    assert_eq!(tasks(&world).await, 1);
}

#[tokio::test]
async fn a_failed_task_gives_its_quota_back_before_it_is_seen_failed() {
    let world = World::new(simple()).await;
    world.provider.program(vec![Rule::always(Behaviour::Status {
        code: 400,
        retry_after: None,
    })]);
    let task = create(&world, wish(UserId::new(), "r-1", &json!({ "text": "x" })))
        .await
        .unwrap();
    let failed = until(&world, &task.task_id, TaskState::Failed).await;
    assert_eq!(world.sagas.quota(), 1_000);
    assert_eq!(failed.error_reason, "PIPELINE_FAILED");
    assert_eq!(failed.error_message, "step ASK: demo_ai answered 400");
    assert_eq!((failed.steps_done, failed.result), (0, None));
}

#[tokio::test]
async fn a_cancelled_task_is_answered_cancelled_and_can_be_cancelled_again() {
    let world = World::new(simple()).await;
    world.provider.program(vec![Rule::always(Behaviour::Hang)]);
    let task = create(&world, wish(UserId::new(), "r-1", &json!({ "text": "x" })))
        .await
        .unwrap();
    world.until_asked(1).await;
    for _ in 0..2 {
        let cancelled = cancel(&world, &task.task_id).await.unwrap();
        assert_eq!(cancelled.state(), TaskState::Cancelled);
        assert_eq!(
            (cancelled.error_reason.as_str(), cancelled.error_message.as_str()),
            ("", "")
        );
    }
    assert_eq!(world.sagas.quota(), 1_000);
}

#[tokio::test]
async fn a_finished_task_is_not_cancellable() {
    let world = World::new(simple()).await;
    let task = create(&world, wish(UserId::new(), "r-1", &json!({ "text": "x" })))
        .await
        .unwrap();
    until(&world, &task.task_id, TaskState::Completed).await;
    let status = cancel(&world, &task.task_id).await.unwrap_err();
    assert_eq!(reason(&status), "TASK_NOT_CANCELLABLE");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let unknown = cancel(&world, &TaskId::new().to_string()).await.unwrap_err();
    assert_eq!(reason(&unknown), "TASK_NOT_FOUND");
}

#[tokio::test]
async fn a_wrong_wish_is_refused_by_name_and_starts_nothing() {
    let world = World::without_worker(simple(), |_| {}).await;
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "a": inner }));
    type Spoil = Box<dyn Fn(&mut pb::CreateTaskRequest)>;
    let input = |input: Value| -> Spoil {
        Box::new(move |wish: &mut pb::CreateTaskRequest| wish.input_data = Some(structure(&input)))
    };
    let cases: Vec<(&str, &str, Spoil)> = vec![
        (
            "INVALID_ID",
            "user_id",
            Box::new(|w| w.user_id = "bob".to_owned()),
        ),
        (
            "INVALID_ID",
            "user_id",
            Box::new(|w| w.user_id = TaskId::new().to_string()),
        ),
        (
            "FEATURE_NOT_FOUND",
            "\"dance\"",
            Box::new(|w| w.feature_id = "dance".to_owned()),
        ),
        (
            "INVALID_ARGUMENT",
            "request_id",
            Box::new(|w| w.request_id = "x".repeat(129)),
        ),
        (
            "INVALID_ARGUMENT",
            "request_id",
            Box::new(|w| w.request_id = "a\u{7}".to_owned()),
        ),
        (
            "PAYLOAD_TOO_LARGE",
            "65536",
            input(json!({ "a": "x".repeat(65_536) })),
        ),
        ("INVALID_ARGUMENT", "NUL", input(json!({ "a": "\u{0}" }))),
        (
            "INVALID_ARGUMENT",
            "24 levels",
            input((0..26).fold(json!({}), |inner, _| json!({ "a": inner }))),
        ),
        (
            "INVALID_ARGUMENT",
            "not finite",
            Box::new(|w| {
                let nan = prost_types::value::Kind::NumberValue(f64::NAN);
                let nan = prost_types::Value { kind: Some(nan) };
                w.input_data.as_mut().unwrap().fields.insert("n".to_owned(), nan);
            }),
        ),
    ];
    for (wanted, named, spoil) in cases {
        let mut request = wish(UserId::new(), "r-1", &json!({}));
        spoil(&mut request);
        let status = create(&world, request).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{status}");
        assert!(status.message().contains(named), "{status}");
    }
    // Deeper than protobuf reads at all: refused before it reaches the service.
    let mut request = wish(UserId::new(), "r-1", &json!({}));
    request.input_data = Some(structure(&deep));
    assert!(create(&world, request).await.is_err());
    assert_eq!(world.sagas.actors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_task_that_is_not_there_is_not_found() {
    let world = World::without_worker(simple(), |_| {}).await;
    let status = get(&world, &TaskId::new().to_string()).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), status.code()),
        ("TASK_NOT_FOUND", Code::NotFound)
    );
    for wrong in ["", "task_", "42", "user_00000000000000000000000000000000"] {
        assert_eq!(reason(&get(&world, wrong).await.unwrap_err()), "INVALID_ID");
    }
}

async fn list(world: &World, request: pb::ListTasksRequest) -> Result<pb::ListTasksResponse, Status> {
    Ok(world.tasks.clone().list_tasks(request).await?.into_inner())
}

#[tokio::test]
async fn tasks_are_listed_newest_first_page_by_page() {
    let world = World::without_worker(simple(), |_| {}).await;
    let user = UserId::new();
    let mut created = Vec::new();
    for n in 0..5 {
        let task = create(&world, wish(user, &format!("r-{n}"), &json!({})))
            .await
            .unwrap();
        created.insert(0, task.task_id);
    }
    create(&world, wish(UserId::new(), "r", &json!({})))
        .await
        .unwrap();
    let mut request = pb::ListTasksRequest {
        user_id: user.to_string(),
        page_size: 2,
        ..pb::ListTasksRequest::default()
    };
    let mut listed = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = list(&world, request.clone()).await.unwrap();
        sizes.push(page.tasks.len());
        listed.extend(page.tasks.into_iter().map(|task| task.task_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((listed, sizes), (created, vec![2, 2, 1]));
}

#[tokio::test]
async fn a_list_can_be_narrowed_to_states() {
    let world = World::without_worker(simple(), |_| {}).await;
    let user = UserId::new();
    create(&world, wish(user, "r", &json!({}))).await.unwrap();
    for (states, found) in [
        (vec![TaskState::Completed, TaskState::Cancelled], 0),
        (vec![TaskState::Pending, TaskState::Processing], 1),
    ] {
        let request = pb::ListTasksRequest {
            user_id: user.to_string(),
            states: states.into_iter().map(Into::into).collect(),
            ..pb::ListTasksRequest::default()
        };
        assert_eq!(list(&world, request).await.unwrap().tasks.len(), found);
    }
}

#[tokio::test]
async fn a_wrong_list_is_refused_by_name() {
    let world = World::without_worker(simple(), |_| {}).await;
    type Spoil = fn(&mut pb::ListTasksRequest);
    let cases: [(&str, Spoil); 7] = [
        ("INVALID_ARGUMENT", |r| r.user_id.clear()),
        ("INVALID_ARGUMENT", |r| r.page_size = 501),
        ("INVALID_ARGUMENT", |r| r.states = vec![0]),
        ("INVALID_ARGUMENT", |r| r.states = vec![99]),
        ("INVALID_PAGE_TOKEN", |r| r.page_token = "garbage".to_owned()),
        ("INVALID_PAGE_TOKEN", |r| r.page_token = "00".repeat(29)),
        ("INVALID_PAGE_TOKEN", |r| r.page_token = "页".repeat(20)),
    ];
    for (wanted, spoil) in cases {
        let mut request = pb::ListTasksRequest {
            user_id: UserId::new().to_string(),
            ..pb::ListTasksRequest::default()
        };
        spoil(&mut request);
        let status = list(&world, request).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{status}");
    }
}

#[tokio::test]
async fn features_are_shown_with_price_and_steps() {
    let world = World::without_worker(simple(), |_| {}).await;
    let answer = world
        .tasks
        .clone()
        .list_features(pb::ListFeaturesRequest {})
        .await
        .unwrap();
    let feature = pb::Feature {
        feature_id: "simple".to_owned(),
        title: "Test".to_owned(),
        amount: 1,
        steps: vec!["ASK".to_owned(), "SHAPE".to_owned()],
    };
    assert_eq!(answer.into_inner().features, [feature]);
}
