//! Commands against `evenkeel dev`.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use test_support::metrics::{LABELS, Scrape};
use test_support::{ChildProcess, Signal, TestDatabase, eventually, identities};

use crate::{code, evenkeel, stderr, stdout};

const LONG: Duration = Duration::from_secs(60);

/// A running `evenkeel dev` on a database of its own.
pub(crate) struct Dev {
    process: ChildProcess,
    /// What `dev` tells people to export.
    variables: Vec<(String, String)>,
    pub(crate) database: TestDatabase,
}

impl Dev {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let database = TestDatabase::create(&[]).await;
        let mut command = evenkeel(&["dev", "--port-base", "0"]);
        command
            .args(options)
            .env("DATABASE_URL", database.url())
            .env("EVENKEEL_DATABASE__MAX", "20")
            .env("EVENKEEL_DATABASE__MIN", "1")
            .env("EVENKEEL_KEYS", identities().dir());
        let process = ChildProcess::spawn(command);
        process
            .wait_for_line(LONG, |line| line.starts_with("What is wrong"))
            .await;
        let export = |line: &String| {
            let (name, value) = line.trim().strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let variables = process.stdout().iter().filter_map(export).collect();
        Self {
            process,
            variables,
            database,
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        evenkeel(args)
            .env("DATABASE_URL", self.database.url())
            .envs(variables)
            .output()
            .expect("the binary runs")
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["-o", "json"]);
        let output = self.run(&args);
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

#[tokio::test]
async fn a_task_is_followed_from_the_command_line() {
    let mut dev = Dev::start().await;
    let user = text(&dev.json(&["quota", "grant", "new", "10"])["balance"]["userId"]);
    let created = dev.json(&[
        "task",
        "create",
        &user,
        "summarize",
        "--input",
        r#"{"text": "hello"}"#,
    ]);
    let (task, saga) = (text(&created["task"]["taskId"]), text(&created["task"]["sagaId"]));

    let watched = dev.run(&["saga", "watch", &saga]);
    assert_eq!(code(&watched), 0, "{}", stderr(&watched));
    assert!(stdout(&watched).contains("COMPLETED"), "{}", stdout(&watched));

    let shown = stdout(&dev.run(&["saga", "show", "--type", "TASK_RUN", "--business-id", &task]));
    for wanted in [saga.as_str(), "RESERVE_QUOTA", "committed", "Timeline"] {
        assert!(shown.contains(wanted), "{wanted} is missing:\n{shown}");
    }
    let shown = dev.json(&["saga", "show", &saga]);
    assert_eq!(shown["saga"]["phase"], "COMPLETED");
    assert_eq!(shown["saga"]["input"]["userId"], user.as_str());

    let task = dev.json(&["task", "show", &task]);
    assert_eq!(task["task"]["status"], "COMPLETED");
    assert_eq!(dev.json(&["quota", "balance", &user])["balance"]["consumed"], 1);
    assert_eq!(
        dev.json(&["quota", "ledger", &user])["entries"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );

    // What happened has been told: nothing stays in an outbox.
    eventually(LONG, || async {
        let waiting = "select (select count(*) from saga.outbox where published_at is null)
            + (select count(*) from quota.outbox where published_at is null)
            + (select count(*) from task.outbox where published_at is null)";
        let waiting: i64 = sqlx::query_scalar(waiting)
            .fetch_one(dev.database.admin())
            .await
            .expect("the database answers");
        waiting == 0
    })
    .await;

    let refused = dev.run(&["saga", "cancel", &saga, "--reason", "too late"]);
    assert_eq!(code(&refused), 1);
    assert!(stderr(&refused).contains("SAGA_ENDED"), "{}", stderr(&refused));

    dev.process.signal(Signal::Int);
    assert_eq!(
        dev.process.wait(LONG).await.code(),
        Some(0),
        "{:?}",
        dev.process.stderr()
    );
}

#[tokio::test]
async fn machines_see_that_dev_is_ready_and_what_it_counts() {
    let dev = Dev::start().await;
    let lines = dev.process.stdout();
    let admin = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("admin "))
        .and_then(|rest| rest.split_whitespace().next())
        .expect("the welcome names it");
    let ask = |path: &str| reqwest::get(format!("{admin}{path}"));
    eventually(LONG, || async {
        ask("/readyz")
            .await
            .is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    assert!(ask("/livez").await.expect("an answer").status().is_success());
    let text = ask("/metrics")
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let scrape = Scrape::parse(&text).expect("metrics");
    assert_eq!(scrape.mistakes(LABELS), Vec::<String>::new());
    let pools = scrape.values_of("db_pool_connections", "pool");
    for pool in ["quota", "quota-steps", "task", "task-steps", "saga"] {
        assert!(pools.contains(pool), "{pool} is not among {pools:?}");
    }
    // Every series of a closed set is there before anything has happened.
    for (service, topic) in [
        ("quota", "quota.low"),
        ("task", "task.failed"),
        ("saga", "saga.attention"),
        ("saga", "other"),
    ] {
        for name in ["events_published_total", "events_unroutable_total"] {
            let value = scrape.value(name, &[("service", service), ("topic", topic)]);
            assert_eq!(value, Some(0.0), "{name} {service} {topic}");
        }
    }
    for service in ["quota", "task", "saga"] {
        for name in ["events_outbox_unpublished", "events_outbox_oldest_seconds"] {
            assert!(
                scrape.value(name, &[("service", service)]).is_some(),
                "{name} {service}"
            );
        }
    }
    for outcome in ["done", "duplicate", "retried", "dead"] {
        let labels = [("queue", "saga.replies"), ("outcome", outcome)];
        assert_eq!(
            scrape.value("events_consumed_total", &labels),
            Some(0.0),
            "{outcome}"
        );
    }
    assert_eq!(
        scrape.value("events_dead", &[("queue", "saga.replies")]),
        Some(0.0)
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap() {
    let dev = Dev::start().await;
    let user = text(&dev.json(&["quota", "grant", "new", "10"])["balance"]["userId"]);
    for _ in 0..5 {
        dev.json(&[
            "task",
            "create",
            &user,
            "summarize",
            "--input",
            r#"{"text": "hello"}"#,
        ]);
    }
    let all = dev.run(&["saga", "list", "--all", "--limit", "2", "-o", "jsonl"]);
    let ids: Vec<String> = stdout(&all)
        .lines()
        .map(|line| text(&serde_json::from_str::<Value>(line).expect("JSON")["sagaId"]))
        .collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first: {ids:?}");

    let first = dev.json(&["saga", "list", "--limit", "2"]);
    let second = dev.json(&[
        "saga",
        "list",
        "--limit",
        "2",
        "--page-token",
        &text(&first["nextPageToken"]),
    ]);
    assert_eq!(text(&second["sagas"][0]["sagaId"]), ids[2]);
    let wrong = dev.run(&["saga", "list", "--page-token", "nonsense"]);
    assert!(
        stderr(&wrong).contains("INVALID_PAGE_TOKEN"),
        "{}",
        stderr(&wrong)
    );
}

#[tokio::test]
async fn the_doctor_finds_a_well_platform_and_a_drifted_account() {
    let dev = Dev::start().await;
    let user = text(&dev.json(&["quota", "grant", "new", "10"])["balance"]["userId"]);
    let well = dev.run(&["doctor"]);
    // The tests' own server runs without fsync, which is exactly what a doctor must find.
    assert!(stdout(&well).contains("set fsync = on"), "{}", stdout(&well));
    let report = dev.run(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
    for name in [
        "schema quota",
        "schema task",
        "schema saga",
        "quota",
        "service saga",
        "service task",
        "definitions",
    ] {
        let checks = report["checks"].as_array().expect("checks");
        let check = checks
            .iter()
            .find(|check| check["check"] == name)
            .unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(check["state"], "ok", "{check}");
    }

    sqlx::query("update quota.account set granted = granted + 1, available = available + 1")
        .execute(dev.database.admin())
        .await
        .expect("the database answers");
    let ill = dev.run(&["doctor"]);
    assert_eq!(code(&ill), 1);
    assert!(stdout(&ill).contains(&user), "{}", stdout(&ill));
}

#[tokio::test]
async fn people_read_the_views_without_a_prefix() {
    let dev = Dev::start().await;
    for table in [
        "saga_instances",
        "saga_steps",
        "saga_state",
        "quota_transactions",
        "tasks",
    ] {
        // A pool of the test sets no search_path: what counts is the database's own.
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
            .fetch_one(&mut connect(&dev.database.url()).await)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!(count, 0, "{table}");
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the database answers")
}

#[tokio::test]
async fn a_definition_is_checked_registered_and_activated() {
    let dev = Dev::start().await;
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../services/task/sagas/TASK_RUN.yaml"
    );
    let source = std::fs::read_to_string(shipped).expect("it ships");
    let scratch = test_support::Scratch::new().expect("a directory");
    let file = scratch.path().join("next.yaml");
    let path = file.display().to_string();

    std::fs::write(&file, source.replace("Reserve\n", "Resreve\n")).expect("written");
    let wrong = dev.run(&["saga", "register", &path]);
    assert_eq!(code(&wrong), 1);
    assert!(stdout(&wrong).contains("UNKNOWN_METHOD"), "{}", stdout(&wrong));

    std::fs::write(&file, source.replace("version: 1", "version: 2")).expect("written");
    assert_eq!(code(&dev.run(&["saga", "check", &path])), 0);
    let registered = dev.run(&["saga", "register", &path]);
    assert!(
        stdout(&registered).contains("inactive"),
        "{}",
        stdout(&registered)
    );
    let activated = dev.run(&["saga", "activate", "TASK_RUN", "2"]);
    assert_eq!(code(&activated), 0, "{}", stderr(&activated));
    let listed = dev.json(&["saga", "definitions", "TASK_RUN"]);
    assert_eq!(listed["definitions"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let database = TestDatabase::create(&[]).await;
    for _ in 0..2 {
        let output = evenkeel(&["migrate"])
            .env("DATABASE_URL", database.url())
            .output()
            .expect("the binary runs");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
}
