//! SIGKILL of the real orchestrator at random moments, under load.

use std::time::{Duration, Instant};

use doubles::ai::{Behaviour, Rule};
use proto::task::v1::{CancelTaskRequest, TaskState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use test_support::{Signal, eventually};

use e2e::{LONG, Mode, Platform, reason};

const KILLS: u32 = 50;
const SAGAS_AT_A_TIME: usize = 20;
/// Restart to first resumed step; the goal of row S7 is 2 s.
const RESUMED_WITHIN: Duration = Duration::from_secs(2);

/// Keeps a fixed number of tasks of mixed fate under way until told to stop; returns their ids and how they may end.
struct Load {
    running: Vec<(String, &'static [TaskState])>,
    started: Vec<(String, &'static [TaskState])>,
    next: u32,
}

const COMPLETED: &[TaskState] = &[TaskState::Completed];
const FAILED: &[TaskState] = &[TaskState::Failed];
const EITHER: &[TaskState] = &[TaskState::Cancelled, TaskState::Completed];

impl Load {
    async fn top_up(&mut self, platform: &Platform, user: ids::UserId) {
        let mut still = Vec::new();
        for (task_id, fate) in std::mem::take(&mut self.running) {
            match platform.task(&task_id).await {
                Ok(task) if fate.contains(&task.state()) => {}
                Ok(_) | Err(_) => still.push((task_id, fate)),
            }
        }
        self.running = still;
        while self.running.len() < SAGAS_AT_A_TIME {
            let number = self.next;
            let (feature, text, fate) = match number % 4 {
                0 => ("summarize", "fine", COMPLETED),
                1 => ("translate", "fine", COMPLETED),
                2 => ("summarize", "broken", FAILED),
                _ => ("translate", "cancel", EITHER),
            };
            // While the orchestrator is down a start fails; the same request id is tried again later.
            let request_id = format!("r{number}");
            let Ok(task) = platform.create_task(user, feature, text, &request_id).await else {
                return;
            };
            self.next += 1;
            if fate == EITHER {
                let request = CancelTaskRequest {
                    task_id: task.task_id.clone(),
                    reason: "test".to_owned(),
                };
                // It fails while the orchestrator is down, and when the task was quicker; either is fine.
                let _ = platform.tasks().cancel_task(request).await;
            }
            self.running.push((task.task_id.clone(), fate));
            self.started.push((task.task_id, fate));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_and_double_nothing() {
    let mut platform = Platform::start(Mode::Serve).await;
    platform.provider.program(vec![
        Rule::always(Behaviour::Status {
            code: 400,
            retry_after: None,
        })
        .prompt("broken"),
        Rule::always(Behaviour::Answer).delay_ms(30),
    ]);
    let user = platform.user(1_000_000).await;
    let seed: u64 = std::env::var("EVENKEEL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("EVENKEEL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut load = Load {
        running: Vec::new(),
        started: Vec::new(),
        next: 0,
    };
    let mut slowest = Duration::ZERO;
    for kill in 1..=KILLS {
        let until = Instant::now() + Duration::from_millis(random.random_range(20..400));
        while Instant::now() < until {
            load.top_up(&platform, user).await;
            tokio::task::yield_now().await;
        }
        let saga = platform.saga.take().expect("an orchestrator");
        saga.signal(Signal::Kill);
        drop(saga);
        let open: i64 = count(
            &platform,
            "select count(*) from saga_instances where completed_at is null and compensated_at is null",
        )
        .await;
        let events: i64 = count(&platform, "select count(*) from saga.event").await;
        let killed = Instant::now();
        platform.start_orchestrator();
        if open > 0 {
            eventually(LONG, || async {
                count(&platform, "select count(*) from saga.event").await > events
            })
            .await;
            slowest = slowest.max(killed.elapsed());
            assert!(
                killed.elapsed() <= RESUMED_WITHIN,
                "kill {kill}: first step after {:?}",
                killed.elapsed()
            );
        }
    }
    eprintln!(
        "{} tasks, slowest restart to first recorded step: {slowest:?}",
        load.started.len()
    );
    for (task_id, fate) in &load.started {
        let task = platform.ended(task_id).await;
        assert!(fate.contains(&task.state()), "{task:?}");
    }
    let look = || async {
        count(
            &platform,
            "select count(*) from saga_instances where status in ('RUNNING', 'COMPENSATING')",
        )
        .await
            == 0
    };
    eventually(LONG, look).await;
    let parked = count(
        &platform,
        "select count(*) from saga_instances where needs_attention",
    )
    .await;
    assert_eq!(parked, 0);
    platform.assert_conserved().await;
    let balance = platform.balance(user).await;
    assert_eq!(
        balance.granted,
        balance.available + balance.reserved + balance.consumed
    );
    assert_eq!(balance.reserved, 0);
    assert!(
        load.started.len() >= 100,
        "only {} tasks were started",
        load.started.len()
    );
    let late = platform
        .create_task(user, "summarize", "fine", "late")
        .await
        .map_err(|s| reason(&s))
        .unwrap();
    assert_eq!(platform.ended(&late.task_id).await.state(), TaskState::Completed);
}

async fn count(platform: &Platform, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(platform.sql())
        .await
        .expect("the database answers")
}
