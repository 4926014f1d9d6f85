//! What users see, in `dev` and in `serve` alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use doubles::ai::{Behaviour, Rule};
use proto::saga::v1::{SagaPhase, SagaReason};
use proto::task::v1::{CancelTaskRequest, ListTasksRequest, TaskState};
use rstest::rstest;
use test_support::eventually;

use e2e::{LONG, Mode, Platform, reason};

const BROKEN: Behaviour = Behaviour::Status {
    code: 400,
    retry_after: None,
};

#[rstest]
#[case::dev(Mode::Dev)]
#[case::serve(Mode::Serve)]
#[tokio::test]
async fn a_task_completes_and_its_quota_is_consumed(#[case] mode: Mode) {
    let platform = Platform::start(mode).await;
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "translate", "good morning", "r1")
        .await
        .unwrap();
    let ended = platform.ended(&task.task_id).await;
    assert_eq!(ended.state(), TaskState::Completed, "{ended:?}");
    assert!(ended.result.unwrap().fields.contains_key("translation"));
    let balance = platform.balance(user).await;
    assert_eq!((balance.available, balance.reserved, balance.consumed), (8, 0, 2));

    let (saga, history) = platform.saga_of(&task.saga_id).await;
    assert_eq!(saga.phase(), SagaPhase::Completed);
    let steps: Vec<&str> = saga.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        steps[..5],
        [
            "RESERVE_QUOTA",
            "CREATE_TASK",
            "RUN_PIPELINE",
            "CONFIRM_QUOTA",
            "COMPLETE_TASK"
        ]
    );
    assert!(history.len() >= 5, "{history:?}");

    let again = platform
        .create_task(user, "translate", "good morning", "r1")
        .await
        .unwrap();
    assert_eq!(again.task_id, task.task_id, "the same request is the same task");
    let other = platform
        .create_task(user, "translate", "good evening", "r1")
        .await
        .unwrap_err();
    assert_eq!(reason(&other), "TASK_MISMATCH");
    let listed = platform
        .tasks()
        .list_tasks(ListTasksRequest {
            user_id: user.to_string(),
            ..ListTasksRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.tasks.len(), 1);
    platform.assert_conserved().await;
}

#[rstest]
#[case::dev(Mode::Dev)]
#[case::serve(Mode::Serve)]
#[tokio::test]
async fn a_failing_provider_gives_the_quota_back(#[case] mode: Mode) {
    let platform = Platform::start(mode).await;
    platform.provider.program(vec![Rule::always(BROKEN)]);
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "summarize", "a text", "r1")
        .await
        .unwrap();
    let ended = platform.ended(&task.task_id).await;
    assert_eq!(ended.state(), TaskState::Failed);
    assert!(
        !ended.error_reason.is_empty() && !ended.error_message.is_empty(),
        "{ended:?}"
    );
    let balance = platform.balance(user).await;
    assert_eq!(
        (balance.available, balance.reserved, balance.consumed),
        (10, 0, 0)
    );
    let (saga, _) = platform.saga_of(&task.saga_id).await;
    assert_eq!(
        (saga.phase(), saga.reason()),
        (SagaPhase::Compensated, SagaReason::Refused)
    );
    platform.assert_conserved().await;
}

#[rstest]
#[case::dev(Mode::Dev)]
#[case::serve(Mode::Serve)]
#[tokio::test]
async fn without_quota_no_task_exists_and_the_caller_is_told(#[case] mode: Mode) {
    let platform = Platform::start(mode).await;
    let user = platform.user(1).await;
    let refused = platform
        .create_task(user, "translate", "a text", "r1")
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "QUOTA_INSUFFICIENT");
    let info = rpc::error::info(&refused).unwrap();
    assert_eq!(info.domain, "quota.evenkeel");
    let unknown = platform
        .create_task(ids::UserId::new(), "translate", "a text", "r1")
        .await
        .unwrap_err();
    assert_eq!(reason(&unknown), "QUOTA_INSUFFICIENT");
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasks")
        .fetch_one(platform.sql())
        .await
        .unwrap();
    assert_eq!(tasks, 0);
    assert_eq!(platform.balance(user).await.available, 1);
    platform.assert_conserved().await;
}

#[rstest]
#[case::dev(Mode::Dev)]
#[case::serve(Mode::Serve)]
#[tokio::test]
async fn a_task_cancelled_half_way_stops_and_gives_its_quota_back(#[case] mode: Mode) {
    let platform = Platform::start(mode).await;
    platform.provider.program(vec![Rule::always(Behaviour::Hang)]);
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "summarize", "a text", "r1")
        .await
        .unwrap();
    eventually(LONG, || async { !platform.provider.requests().is_empty() }).await;
    let request = CancelTaskRequest {
        task_id: task.task_id.clone(),
        reason: "changed my mind".to_owned(),
    };
    platform.tasks().cancel_task(request.clone()).await.unwrap();
    assert_eq!(platform.ended(&task.task_id).await.state(), TaskState::Cancelled);
    assert_eq!(platform.balance(user).await.available, 10);
    let (saga, _) = platform.saga_of(&task.saga_id).await;
    assert_eq!(
        (saga.phase(), saga.reason()),
        (SagaPhase::Compensated, SagaReason::Cancelled)
    );
    let again = platform
        .tasks()
        .cancel_task(request)
        .await
        .unwrap()
        .into_inner()
        .task
        .unwrap();
    assert_eq!(
        again.state(),
        TaskState::Cancelled,
        "cancelling again changes nothing"
    );
    platform.assert_conserved().await;
}

#[tokio::test]
async fn a_completed_task_cannot_be_cancelled() {
    let platform = Platform::start(Mode::Serve).await;
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "summarize", "a text", "r1")
        .await
        .unwrap();
    platform.ended(&task.task_id).await;
    let request = CancelTaskRequest {
        task_id: task.task_id,
        reason: String::new(),
    };
    let refused = platform.tasks().cancel_task(request).await.unwrap_err();
    assert_eq!(reason(&refused), "TASK_NOT_CANCELLABLE");
    assert_eq!(platform.balance(user).await.consumed, 1);
}

/// A reader who looks all the time, in one snapshot over both schemas.
#[tokio::test]
async fn no_reader_sees_a_task_failed_before_its_quota_is_back() {
    let platform = Platform::start(Mode::Serve).await;
    platform.provider.program(vec![Rule::always(BROKEN)]);
    let user = platform.user(100).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (looks, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let watcher = tokio::spawn({
        let (pool, stop) = (platform.sql().clone(), Arc::clone(&stop));
        let (looks, broken) = (Arc::clone(&looks), Arc::clone(&broken));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let seen: i64 = sqlx::query_scalar(
                    "select count(*) from task.tasks t
                     join quota.quota_transactions q on q.task_id = t.id
                     where t.status in ('failed', 'cancelled') and q.phase <> 'cancelled'",
                )
                .fetch_one(&pool)
                .await
                .unwrap();
                looks.fetch_add(1, Ordering::Relaxed);
                broken.fetch_add(usize::try_from(seen).unwrap(), Ordering::Relaxed);
            }
        }
    });
    for i in 0..20 {
        let task = platform
            .create_task(user, "summarize", "a text", &format!("r{i}"))
            .await
            .unwrap();
        if i % 4 == 0 {
            let request = CancelTaskRequest {
                task_id: task.task_id.clone(),
                reason: String::new(),
            };
            // It may have failed by itself already.
            let _ = platform.tasks().cancel_task(request).await;
        }
        platform.ended(&task.task_id).await;
    }
    stop.store(true, Ordering::Relaxed);
    watcher.await.unwrap();
    assert!(looks.load(Ordering::Relaxed) > 100);
    assert_eq!(broken.load(Ordering::Relaxed), 0);
    assert_eq!(platform.balance(user).await.available, 100);
}

#[tokio::test]
async fn operators_read_sagas_in_sql() {
    let platform = Platform::start(Mode::Serve).await;
    platform.provider.program(vec![Rule::always(Behaviour::Hang)]);
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "summarize", "a text", "r1")
        .await
        .unwrap();
    let look = || async {
        sqlx::query_as::<_, (String, String, String)>(
            "select id, business_type, current_step from saga_instances where status = 'RUNNING'",
        )
        .fetch_optional(platform.sql())
        .await
        .unwrap()
        .filter(|row| row.2 == "RUN_PIPELINE")
    };
    let (id, kind, _) = eventually(LONG, look).await;
    assert_eq!((id.as_str(), kind.as_str()), (task.saga_id.as_str(), "TASK_RUN"));
    let steps: Vec<(String, String)> =
        sqlx::query_as("select step_name, status from saga_steps where saga_id = $1 order by step_order")
            .bind(&task.saga_id)
            .fetch_all(platform.sql())
            .await
            .unwrap();
    assert_eq!(steps.len(), 5, "{steps:?}");
    assert_eq!(steps[0].0, "RESERVE_QUOTA");
    let old: String = sqlx::query_scalar("select status from saga_state where id = $1")
        .bind(&task.saga_id)
        .fetch_one(platform.sql())
        .await
        .unwrap();
    assert_eq!(old, "RUNNING");
}

#[tokio::test]
async fn a_deadline_unwinds_a_task_that_takes_too_long() {
    let platform = Platform::start(Mode::Serve).await;
    platform.provider.program(vec![Rule::always(Behaviour::Hang)]);
    let user = platform.user(10).await;
    let task_id = ids::TaskId::new();
    let request = proto::saga::v1::StartSagaRequest {
        r#type: "TASK_RUN".to_owned(),
        business_id: task_id.to_string(),
        input: Some(proto::saga::v1::start_saga_request::Input::Json(
            serde_json::json!({
                "taskId": task_id.to_string(), "userId": user.to_string(), "featureId": "summarize",
                "inputData": {"text": "a"}, "amount": 1, "deadline": "2s",
            })
            .to_string(),
        )),
        wait: Some(proto::saga::v1::WaitUntil {
            until: Some(proto::saga::v1::wait_until::Until::End(true)),
            timeout: Some(prost_types::Duration::try_from(Duration::from_secs(30)).unwrap()),
        }),
    };
    let answer = platform.sagas().start_saga(request).await.unwrap().into_inner();
    let saga = answer.saga.unwrap();
    assert!(answer.waited_for_reached);
    assert_eq!(
        (saga.phase(), saga.reason()),
        (SagaPhase::Compensated, SagaReason::Timeout)
    );
    assert_eq!(platform.balance(user).await.available, 10);
    assert_eq!(
        platform.task(&task_id.to_string()).await.unwrap().state(),
        TaskState::Failed
    );
    platform.assert_conserved().await;
}
