//! Work under way while things break.

use doubles::ai::{Behaviour, Rule};
use proto::task::v1::{CancelTaskRequest, TaskState};
use test_support::eventually;
use tokio::time::timeout;

use e2e::{LONG, Platform};

const SAGAS_AT_A_TIME: usize = 20;
/// How long one request is waited for. What is away answers late or never.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Keeps a fixed number of tasks of mixed fate under way until told to stop; returns their ids and how they may end.
#[derive(Debug, Default)]
pub(crate) struct Load {
    running: Vec<(String, &'static [TaskState])>,
    pub(crate) started: Vec<(String, &'static [TaskState])>,
    next: u32,
}

const COMPLETED: &[TaskState] = &[TaskState::Completed];
const FAILED: &[TaskState] = &[TaskState::Failed];
const EITHER: &[TaskState] = &[TaskState::Cancelled, TaskState::Completed];

impl Load {
    pub(crate) async fn top_up(&mut self, platform: &Platform, user: ids::UserId) {
        let mut still = Vec::new();
        let mut running = std::mem::take(&mut self.running).into_iter();
        let mut answers = true;
        while answers && let Some((task_id, fate)) = running.next() {
            match timeout(PATIENCE, platform.task(&task_id)).await {
                Ok(Ok(task)) if fate.contains(&task.state()) => {}
                Ok(Ok(_) | Err(_)) => still.push((task_id, fate)),
                // Something is away: the others would not answer either.
                Err(_) => {
                    answers = false;
                    still.push((task_id, fate));
                }
            }
        }
        self.running = still.into_iter().chain(running).collect();
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
            let create = platform.create_task(user, feature, text, &request_id);
            let Ok(Ok(task)) = timeout(PATIENCE, create).await else {
                return;
            };
            self.next += 1;
            if fate == EITHER {
                let request = CancelTaskRequest {
                    task_id: task.task_id.clone(),
                    reason: "test".to_owned(),
                };
                // It fails while the orchestrator is down, and when the task was quicker; either is fine.
                let _ = timeout(PATIENCE, platform.tasks().cancel_task(request)).await;
            }
            self.running.push((task.task_id.clone(), fate));
            self.started.push((task.task_id, fate));
        }
    }

    /// Waits until every task has ended as it may, and no saga is under way.
    pub(crate) async fn ended(&self, platform: &Platform) {
        for (task_id, fate) in &self.started {
            let task = platform.ended(task_id).await;
            assert!(fate.contains(&task.state()), "{task:?}");
        }
        let under_way = "select count(*) from saga_instances where status in ('RUNNING', 'COMPENSATING')";
        eventually(LONG, || async { count(platform, under_way).await == 0 }).await;
    }
}

/// Makes the provider refuse what the load expects to fail, and take its time for the rest.
pub(crate) fn program(platform: &Platform) {
    platform.provider.program(vec![
        Rule::always(Behaviour::Status {
            code: 400,
            retry_after: None,
        })
        .prompt("broken"),
        Rule::always(Behaviour::Answer).delay_ms(30),
    ]);
}

pub(crate) async fn count(platform: &Platform, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(platform.sql())
        .await
        .expect("the database answers")
}
