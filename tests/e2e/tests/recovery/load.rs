//! Callers that go on asking for tasks, whatever breaks, and what became of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doubles::ai::{Behaviour, Rule};
use ids::{TaskId, UserId};
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::{CancelTaskRequest, CreateTaskRequest};
use sqlx::PgPool;
use test_support::eventually;
use token::Channel;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use e2e::{LONG, input, resident_bytes};

use crate::fleet::Fleet;
use crate::journal;

/// One task is asked for in this time: 9 in a second, which two cores can do in a debug build beside other tests.
const PACE: Duration = Duration::from_millis(110);
/// How long the provider takes. Sagas wait for it, and should not for much longer than faults last: what is measured begins with
/// the last event before.
const PROVIDER_MS: u64 = 400;
/// Sagas under way above which callers wait: what is measured is how long faults last, not how a backlog is worked off.
const MOST_UNDER_WAY: i64 = 60;
/// How long a caller waits for an answer, and between two tries.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// Most that an orchestrator's resident memory may grow, in bytes.
const MEMORY_GROWTH_BYTES: u64 = 64 * 1024 * 1024;

const COMPLETED: &[&str] = &["completed"];
const FAILED: &[&str] = &["failed"];
const EITHER: &[&str] = &["cancelled", "completed"];

/// One wish for a task.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) began: f64,
    /// Until the caller had its task.
    pub(crate) took: Duration,
    /// What the caller was told before.
    pub(crate) failures: Vec<String>,
    pub(crate) task: TaskId,
    fate: &'static [&'static str],
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    user: UserId,
    stop: CancellationToken,
    asking: JoinHandle<Vec<Start>>,
    memory: Arc<Mutex<Memory>>,
    watching: JoinHandle<()>,
}

/// Resident memory of processes, first and most.
type Memory = BTreeMap<u32, (u64, u64)>;

impl Load {
    pub(crate) async fn start(fleet: &Fleet) -> Self {
        let refused = Behaviour::Status {
            code: 400,
            retry_after: None,
        };
        fleet.platform.provider.program(vec![
            Rule::always(refused).prompt("broken").delay_ms(PROVIDER_MS),
            Rule::always(Behaviour::Answer).delay_ms(PROVIDER_MS),
        ]);
        let user = fleet.platform.user(10_000_000).await;
        let stop = CancellationToken::new();
        let asking = tokio::spawn(ask(
            fleet.platform.sql().clone(),
            fleet.fronts.clone(),
            user,
            stop.clone(),
        ));
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let watching = tokio::spawn(watch(Arc::clone(&memory)));
        let load = Self {
            user,
            stop,
            asking,
            memory,
            watching,
        };
        load.watch(fleet);
        load
    }

    /// Watches the memory of the orchestrators that run now, too.
    pub(crate) fn watch(&self, fleet: &Fleet) {
        let mut memory = self.memory.lock().expect("nobody panics with it");
        for replica in &fleet.replicas {
            memory.entry(replica.pid()).or_insert_with(|| {
                let bytes = resident_bytes(replica.pid()).expect("it lives");
                (bytes, bytes)
            });
        }
    }

    /// Ends the load and waits until everything has come to rest; checks that nothing was lost or doubled, and that memory
    /// is bounded.
    pub(crate) async fn settle(self, fleet: &Fleet) -> Vec<Start> {
        self.stop.cancel();
        let starts = self.asking.await.expect("callers do not panic");
        let db = fleet.platform.sql();
        eventually(LONG, || async {
            match journal::under_way(db).await {
                Ok(0) => Ok(()),
                other => Err(format!("sagas under way: {other:?}")),
            }
        })
        .await;
        let tasks: Vec<(sqlx::types::Uuid, String)> = sqlx::query_as("select id, status from task.tasks")
            .fetch_all(db)
            .await
            .expect("the database answers");
        let tasks: BTreeMap<_, _> = tasks.into_iter().collect();
        for start in &starts {
            let status = tasks.get(&start.task.uuid()).map(String::as_str);
            let as_it_may = status.is_some_and(|status| start.fate.contains(&status));
            assert!(as_it_may, "{start:?} is {status:?}");
        }
        assert_eq!(tasks.len(), starts.len(), "there are tasks that nobody asked for");
        let (sagas, parked): (i64, i64) =
            sqlx::query_as("select count(*), count(*) filter (where needs_attention) from saga.instance")
                .fetch_one(db)
                .await
                .expect("the database answers");
        assert_eq!(usize::try_from(sagas), Ok(starts.len()), "one saga a task");
        assert_eq!(parked, 0, "sagas wait for people");
        assert_eq!(journal::doubled(db).await, Vec::<String>::new());
        fleet.platform.assert_conserved().await;
        let due: i64 = sqlx::query_scalar(
            "select coalesce(sum(amount), 0)::bigint from task.tasks where status = 'completed'",
        )
        .fetch_one(db)
        .await
        .expect("the database answers");
        assert_eq!(
            fleet.platform.balance(self.user).await.consumed,
            due,
            "consumed and done differ"
        );
        self.watching.abort();
        let memory = self.memory.lock().expect("nobody panics with it");
        let grown = memory
            .values()
            .map(|(first, most)| most.saturating_sub(*first))
            .max();
        let grown = grown.expect("somebody was watched");
        eprintln!(
            "{} tasks; an orchestrator grew by at most {} KiB",
            starts.len(),
            grown / 1024
        );
        assert!(
            grown < MEMORY_GROWTH_BYTES,
            "an orchestrator grew by {grown} bytes"
        );
        starts
    }
}

/// What callers noticed, in words.
pub(crate) fn told(starts: &[Start]) -> String {
    let failed = starts.iter().filter(|start| !start.failures.is_empty()).count();
    let slowest = starts.iter().map(|start| start.took).max().unwrap_or_default();
    let failures: BTreeMap<&str, usize> =
        starts
            .iter()
            .flat_map(|start| &start.failures)
            .fold(BTreeMap::new(), |mut counts, failure| {
                *counts
                    .entry(failure.split(';').next().unwrap_or_default())
                    .or_default() += 1;
                counts
            });
    eprintln!("{failures:#?}");
    format!(
        "{failed} of {} starts failed at first, the slowest took {:.1} s",
        starts.len(),
        slowest.as_secs_f64()
    )
}

async fn watch(memory: Arc<Mutex<Memory>>) {
    let mut looks = interval(Duration::from_millis(500));
    loop {
        looks.tick().await;
        let mut memory = memory.lock().expect("nobody panics with it");
        for (pid, (_, most)) in memory.iter_mut() {
            // It may have ended.
            if let Some(bytes) = resident_bytes(*pid) {
                *most = bytes.max(*most);
            }
        }
    }
}

async fn ask(
    db: PgPool,
    fronts: Vec<TaskServiceClient<Channel>>,
    user: UserId,
    stop: CancellationToken,
) -> Vec<Start> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = JoinSet::new();
    let mut number = 0;
    loop {
        if stop.run_until_cancelled(ticks.tick()).await.is_none() {
            break;
        }
        // The database may be away: then callers go on asking.
        if journal::under_way(&db)
            .await
            .is_ok_and(|sagas| sagas > MOST_UNDER_WAY)
        {
            continue;
        }
        let front = fronts[number % fronts.len()].clone();
        asked.spawn(one(front, user, number));
        number += 1;
    }
    asked.join_all().await
}

/// Asks for a task under one request id until there is one.
async fn one(mut front: TaskServiceClient<Channel>, user: UserId, number: usize) -> Start {
    let (text, fate) = match number % 3 {
        0 => ("fine", COMPLETED),
        1 => ("broken", FAILED),
        _ => ("cancel", EITHER),
    };
    let (began, clock) = (journal::now(), Instant::now());
    let mut failures = Vec::new();
    let mut pauses = interval(PAUSE);
    let task = loop {
        pauses.tick().await;
        let request = CreateTaskRequest {
            user_id: user.to_string(),
            feature_id: "summarize".to_owned(),
            input_data: Some(input(text)),
            request_id: format!("r{number}"),
        };
        match timeout(PATIENCE, front.create_task(request)).await {
            Ok(Ok(answer)) => break answer.into_inner().task.expect("a task"),
            Ok(Err(status)) => failures.push(status.to_string()),
            Err(elapsed) => failures.push(elapsed.to_string()),
        }
        assert!(clock.elapsed() < LONG * 2, "no task for r{number}: {failures:?}");
    };
    let took = clock.elapsed();
    if fate == EITHER {
        let request = CancelTaskRequest {
            task_id: task.task_id.clone(),
            reason: "test".to_owned(),
        };
        // It fails while something is away, and when the task was quicker; either is fine.
        let _ = timeout(PATIENCE, front.cancel_task(request)).await;
    }
    Start {
        began,
        took,
        failures,
        task: task.task_id.parse().expect("an id"),
        fate,
    }
}
