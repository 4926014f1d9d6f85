//! Several orchestrators: takeover, and a process that should be dead.

use doubles::ai::{Behaviour, Rule};
use proto::task::v1::TaskState;
use test_support::{Signal, eventually, free_port};

use e2e::{LONG, Mode, Orchestrator, Platform};

#[tokio::test]
async fn a_paused_orchestrator_that_was_taken_over_writes_nothing_and_exits() {
    let mut platform = Platform::start(Mode::Serve).await;
    platform
        .provider
        .program(vec![Rule::always(Behaviour::Answer).delay_ms(3_000)]);
    let user = platform.user(100).await;
    let mut tasks = Vec::new();
    for i in 0..10 {
        tasks.push(
            platform
                .create_task(user, "summarize", "a text", &format!("r{i}"))
                .await
                .unwrap(),
        );
    }
    let mut zombie = platform.saga.take().expect("an orchestrator");
    zombie.signal(Signal::Stop);
    let second = Orchestrator {
        instance: "saga-1".to_owned(),
        port: free_port(),
    };
    platform.saga = Some(platform.spawn_orchestrator(&second));
    let owned_by_zombie = || async {
        let left: i64 = sqlx::query_scalar(
            "select count(*) from saga.instance where owner = 'saga-0' and phase in ('RUNNING', 'COMPENSATING')",
        )
        .fetch_one(platform.sql())
        .await
        .unwrap();
        left == 0
    };
    eventually(LONG, owned_by_zombie).await;
    let epoch: i64 = sqlx::query_scalar("select epoch from saga.replica where id = 'saga-0'")
        .fetch_one(platform.sql())
        .await
        .unwrap();
    for task in &tasks {
        assert_eq!(platform.ended(&task.task_id).await.state(), TaskState::Completed);
    }
    let before = fingerprint(&platform).await;
    zombie.signal(Signal::Cont);
    let status = zombie.wait(LONG).await;
    assert_eq!(status.code(), Some(70), "{:?}", zombie.stderr());
    assert_eq!(fingerprint(&platform).await, before, "the zombie wrote something");
    let after: i64 = sqlx::query_scalar("select epoch from saga.replica where id = 'saga-0'")
        .fetch_one(platform.sql())
        .await
        .unwrap();
    assert_eq!(after, epoch);
    platform.assert_conserved().await;
}

/// Everything an orchestrator writes about sagas, reduced to one value.
async fn fingerprint(platform: &Platform) -> String {
    sqlx::query_scalar(
        "select md5(
            (select coalesce(string_agg(e::text, '|' order by e.saga_id, e.seq), '') from saga.event e)
            || (select coalesce(string_agg(i::text, '|' order by i.id), '') from saga.instance i))",
    )
    .fetch_one(platform.sql())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_second_process_under_the_same_name_fences_the_first() {
    let mut platform = Platform::start(Mode::Serve).await;
    let mut first = platform.saga.take().expect("an orchestrator");
    let again = Orchestrator {
        port: free_port(),
        ..platform.orchestrator.clone()
    };
    platform.saga = Some(platform.spawn_orchestrator(&again));
    let status = first.wait(LONG).await;
    assert_eq!(status.code(), Some(70), "{:?}", first.stderr());
}
