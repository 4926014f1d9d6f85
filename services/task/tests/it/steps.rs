//! The steps as a saga calls them: repeated, late, wrong.

use ids::SagaId;
use proto::task::v1 as pb;
use rpc::step::{Op, is_stored};
use serde_json::json;
use tonic::{Code, Request};

use crate::world::{Run, World, reason, simple};

#[tokio::test]
async fn a_repeated_step_happens_once() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    for _ in 0..3 {
        let answer = run.create("simple", json!({ "text": "x" })).await.unwrap();
        assert!(is_stored(answer.metadata()));
    }
    assert_eq!(world.topics(run.task_id).await, ["task.created"]);
    let other = run.create("simple", json!({ "text": "y" })).await.unwrap_err();
    assert_eq!(reason(&other), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn a_task_belongs_to_one_saga() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    run.create("simple", json!({})).await.unwrap();
    let mut thief = run.clone();
    thief.saga_id = SagaId::new();
    let refused = thief.create("simple", json!({})).await.unwrap_err();
    assert_eq!(reason(&refused), "TASK_MISMATCH");
    assert!(is_stored(refused.metadata()));
    // Its unwinding leaves the other saga's task alone.
    thief.mark_failing().await.unwrap();
    thief.finish("REFUSED").await.unwrap();
    assert_eq!(world.state(run.task_id).await, "pending");
    let refused = thief.run_pipeline().await.unwrap_err();
    assert_eq!(reason(&refused), "TASK_NOT_FOUND");
}

#[tokio::test]
async fn a_whole_task_completes_with_its_result() {
    let world = World::new(simple()).await;
    let run = world.begin("simple", json!({ "text": "x" })).await;
    let result = run.end().await.unwrap();
    for _ in 0..2 {
        run.complete(&result).await.unwrap();
    }
    assert_eq!(world.state(run.task_id).await, "completed");
    let stored = "select result from tasks where id = $1";
    assert_eq!(world.rows(stored, run.task_id).await, [result]);
    assert_eq!(world.topics(run.task_id).await.last().unwrap(), "task.completed");
}

#[tokio::test]
async fn a_task_is_cancelled_only_by_the_last_call() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = world.begin("simple", json!({ "text": "x" })).await;
    assert!(run.stop_pipeline("CANCELLED").await.unwrap().into_inner().stopped);
    run.mark_failing().await.unwrap();
    assert_eq!(world.state(run.task_id).await, "failing");
    for _ in 0..2 {
        run.finish("CANCELLED").await.unwrap();
    }
    assert_eq!(world.state(run.task_id).await, "cancelled");
    let topics = ["task.created", "task.started", "task.cancelled"];
    assert_eq!(world.topics(run.task_id).await, topics);
}

#[tokio::test]
async fn a_failed_task_says_what_its_saga_knows() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    run.create("simple", json!({})).await.unwrap();
    run.mark_failing().await.unwrap();
    run.finish("TIMEOUT").await.unwrap();
    let error = "select jsonb_build_array(status, error_reason, error_message) from tasks where id = $1";
    let expected = json!(["failed", "TIMEOUT", "step RUN_PIPELINE: as told"]);
    assert_eq!(world.rows(error, run.task_id).await, [expected]);
}

#[tokio::test]
async fn a_task_that_never_was_is_finished_without_a_word() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    run.mark_failing().await.unwrap();
    run.finish("REFUSED").await.unwrap();
    let late = run.create("simple", json!({})).await.unwrap_err();
    assert_eq!(reason(&late), "SUPERSEDED");
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasks")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(tasks, 0);
}

#[tokio::test]
async fn an_impossible_change_is_no_answer_and_stores_nothing() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    run.create("simple", json!({})).await.unwrap();
    let status = run.complete(&json!({})).await.unwrap_err();
    assert_eq!(
        (status.code(), is_stored(status.metadata())),
        (Code::Internal, false)
    );
    let status = run.finish("REFUSED").await.unwrap_err();
    assert_eq!(
        (status.code(), is_stored(status.metadata())),
        (Code::Internal, false)
    );
    assert_eq!(world.state(run.task_id).await, "pending");
}

#[tokio::test]
async fn a_feature_that_is_gone_refuses_the_pipeline() {
    let world = World::without_worker(simple(), |_| {}).await;
    let run = Run::new(world.steps.clone());
    run.create("gone", json!({})).await.unwrap();
    let refused = run.run_pipeline().await.unwrap_err();
    assert_eq!(reason(&refused), "FEATURE_NOT_FOUND");
    assert!(is_stored(refused.metadata()));
    assert_eq!(world.state(run.task_id).await, "pending");
}

#[tokio::test]
async fn a_call_without_metadata_is_no_step() {
    let mut world = World::without_worker(simple(), |_| {}).await;
    let bare = Request::new(pb::RunPipelineRequest::default());
    let status = world.steps.run_pipeline(bare).await.unwrap_err();
    assert_eq!(reason(&status), "STEP_METADATA_INVALID");
}

#[tokio::test]
async fn wrong_requests_are_refused_and_nothing_is_stored() {
    let mut world = World::without_worker(simple(), |_| {}).await;
    type Spoil = fn(&mut pb::CreateTaskRecordRequest);
    let cases: [(&str, Spoil); 7] = [
        ("INVALID_ID", |r| r.task_id = "task_1".to_owned()),
        ("INVALID_ID", |r| r.user_id.clear()),
        ("INVALID_ID", |r| r.saga_id = r.task_id.clone()),
        ("INVALID_ARGUMENT", |r| r.saga_id = SagaId::new().to_string()),
        ("INVALID_ARGUMENT", |r| r.amount = 0),
        ("INVALID_ARGUMENT", |r| r.feature_id.clear()),
        ("INVALID_ARGUMENT", |r| {
            let nul = json!({ "a": "\u{0}" });
            r.input_data = Some(crate::world::structure(&nul));
        }),
    ];
    for (wanted, spoil) in cases {
        let run = Run::new(world.steps.clone());
        let mut record = run.record("simple", &json!({}));
        spoil(&mut record);
        let request = run.call("CREATE_TASK", Op::Action, record);
        let status = world.steps.create_task_record(request).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{}", status.message());
    }
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasks")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(tasks, 0);
}
