//! What machines that watch a platform see.

use doubles::ai::{Behaviour, Rule};
use e2e::{LONG, Mode, Platform};
use proto::task::v1::TaskState;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use test_support::metrics::{LABELS, Scrape};
use test_support::{Signal, eventually};

const BROKEN: Behaviour = Behaviour::Status {
    code: 400,
    retry_after: None,
};

/// Every metric of an orchestrator that has run sagas, with nothing gone wrong.
const OF_SAGAS: [&str; 19] = [
    "saga_started_total",
    "saga_adopted_total",
    "saga_completed_total",
    "saga_compensated_total",
    "saga_resolved_total",
    "saga_released_total",
    "saga_active",
    "saga_duration_seconds",
    "saga_oldest_active_seconds",
    "saga_claim_lag_seconds",
    "saga_step_duration_seconds",
    "saga_step_retries_total",
    "saga_attention",
    "saga_fenced_writes_total",
    "saga_invariant_violations_total",
    "saga_commit_batch_size",
    "saga_participant_in_flight",
    "saga_participant_waiting",
    "saga_participant_circuit",
];
/// Every metric of a process that has a pool and an outbox.
const OF_ALL: [&str; 7] = [
    "db_pool_connections",
    "db_pool_connections_max",
    "events_outbox_oldest_seconds",
    "events_outbox_unpublished",
    "events_published_total",
    "events_unroutable_total",
    "process_resident_memory_bytes",
];

async fn scrape(url: &str) -> Scrape {
    let answer = reqwest::get(format!("{url}/metrics")).await.unwrap();
    assert!(answer.status().is_success());
    Scrape::parse(&answer.text().await.unwrap()).unwrap()
}

/// What came in, and what became of it; equal at any moment at which no saga is just changing.
fn sides(scrape: &Scrape, saga_type: &str) -> (f64, f64) {
    let sum = |names: &[&str]| {
        let of_type = [("type", saga_type)];
        names.iter().map(|name| scrape.sum(name, &of_type)).sum()
    };
    (
        sum(&["saga_started_total", "saga_adopted_total"]),
        sum(&[
            "saga_completed_total",
            "saga_compensated_total",
            "saga_resolved_total",
            "saga_released_total",
            "saga_active",
        ]),
    )
}

fn assert_law(scrape: &Scrape) {
    for saga_type in scrape.values_of("saga_started_total", "type") {
        let (came, became) = sides(scrape, &saga_type);
        assert_eq!(came, became, "{saga_type}");
    }
}

#[tokio::test]
async fn every_saga_that_came_is_accounted_for_and_every_metric_follows_the_rules() {
    let platform = Platform::start(Mode::Serve).await;
    platform
        .provider
        .program(vec![Rule::always(BROKEN).prompt("broken")]);
    let user = platform.user(20).await;
    let mut tasks = Vec::new();
    for n in 0..6 {
        let text = if n % 3 == 0 { "a broken text" } else { "a text" };
        let task = platform
            .create_task(user, "summarize", text, &format!("r{n}"))
            .await
            .unwrap();
        tasks.push(task.task_id);
    }
    let mut ended = Vec::new();
    for task in &tasks {
        ended.push(platform.ended(task).await.state());
    }
    let count = |state| ended.iter().filter(|s| **s == state).count() as f64;
    assert_eq!(
        (count(TaskState::Completed), count(TaskState::Failed)),
        (4.0, 2.0)
    );

    let urls = platform.admin_urls().await;
    let of_type = [("type", "TASK_RUN")];
    // A task has ended a little before its saga.
    let saga = eventually(LONG, || async {
        let saga = scrape(&urls[0]).await;
        (saga.sum("saga_active", &of_type) == 0.0).then_some(saga)
    })
    .await;
    assert_eq!(saga.value("saga_started_total", &of_type), Some(6.0));
    assert_eq!(saga.value("saga_completed_total", &of_type), Some(4.0));
    assert_eq!(saga.value("saga_compensated_total", &of_type), Some(2.0));
    assert_eq!(saga.value("saga_duration_seconds_count", &of_type), Some(6.0));
    assert_law(&saga);
    let reserved = [("type", "TASK_RUN"), ("step", "RESERVE_QUOTA"), ("op", "action")];
    assert_eq!(saga.sum("saga_step_duration_seconds_count", &reserved), 6.0);
    assert!(saga.value("saga_claim_lag_seconds_count", &[]) >= Some(6.0 * 4.0));
    for name in OF_SAGAS {
        assert!(saga.families().contains_key(name), "{name} is missing");
    }

    for url in &urls {
        let all = scrape(url).await;
        assert_eq!(all.mistakes(LABELS), Vec::<String>::new(), "{url}");
        for name in OF_ALL {
            assert!(all.families().contains_key(name), "{name} is missing at {url}");
        }
        for path in ["/livez", "/readyz"] {
            let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{path}");
        }
    }

    let status: Value = reqwest::get(format!("{}/status", urls[0]))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&status["total"], &status["running"], &status["failed"]),
        (&Value::from(6), &Value::from(0), &Value::from(0)),
        "{status}"
    );
    assert_eq!(status["successRate"], "100.00%");
}

#[tokio::test]
async fn a_saga_that_outlives_its_process_is_adopted_by_the_next() {
    let mut platform = Platform::start(Mode::Serve).await;
    platform.provider.program(vec![Rule::always(Behaviour::Status {
        code: 503,
        retry_after: Some(1),
    })]);
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "summarize", "a text", "r1")
        .await
        .unwrap();
    let of_type = [("type", "TASK_RUN")];
    let before = scrape(&platform.admin_urls().await[0]).await;
    assert_eq!(
        (
            before.sum("saga_started_total", &of_type),
            before.sum("saga_active", &of_type)
        ),
        (1.0, 1.0)
    );
    assert_law(&before);

    let mut process = platform.saga.take().unwrap();
    process.signal(Signal::Kill);
    process.wait(LONG).await;
    platform.start_orchestrator();
    platform.provider.program(Vec::new());
    let ended = platform.ended(&task.task_id).await;
    assert_eq!(ended.state(), TaskState::Completed);
    let url = platform.admin_urls().await.remove(0);
    let after = eventually(LONG, || async {
        let after = scrape(&url).await;
        (after.sum("saga_completed_total", &of_type) == 1.0).then_some(after)
    })
    .await;
    assert_eq!(after.sum("saga_started_total", &of_type), 0.0);
    assert_eq!(after.sum("saga_adopted_total", &of_type), 1.0);
    assert_law(&after);
}

#[tokio::test]
async fn a_process_without_its_database_is_alive_and_not_ready() {
    let platform = Platform::start(Mode::Serve).await;
    let url = platform.admin_urls().await.remove(0);
    let code = |path: &'static str| {
        let url = format!("{url}{path}");
        async move { reqwest::get(url).await.unwrap().status().as_u16() }
    };
    eventually(LONG, || async { code("/readyz").await == 200 }).await;

    // Nobody is let in any more, and those inside are thrown out.
    let options: PgConnectOptions = platform.database.url().parse().unwrap();
    let name = options.get_database().unwrap().to_owned();
    let mut outside = PgConnection::connect_with(&options.database("postgres"))
        .await
        .unwrap();
    let allow = |allowed: bool| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "alter database \"{name}\" allow_connections {allowed};
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and not {allowed}"
        )))
    };
    allow(false).execute(&mut outside).await.unwrap();
    eventually(LONG, || async { code("/readyz").await == 503 }).await;
    assert_eq!(code("/livez").await, 200);
    allow(true).execute(&mut outside).await.unwrap();
    eventually(LONG, || async { code("/readyz").await == 200 }).await;
}
