//! Every benchmark, run small: what it measures is there, and what it checks holds. Not how fast anything is.

use serde_json::Value;

use crate::{code, evenkeel, stderr, stdout};

/// Rows of a benchmark that must end well.
fn rows(args: &[&str]) -> Vec<Value> {
    let mut command = evenkeel(&["bench"]);
    command.args(args).args(["-o", "jsonl"]).env_remove("REDIS_URL");
    let output = command.output().expect("the binary runs");
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let parse = |line: &str| serde_json::from_str(line).expect("a row is JSON");
    stdout(&output).lines().map(parse).collect()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} is no number: {row}"))
}

#[test]
fn sagas_are_measured_beside_the_baseline() {
    let rows = rows(&["sagas", "--concurrency", "2", "--seconds", "1", "--warmup", "0"]);
    // Two engines, two ends, two kinds of participants.
    assert_eq!(rows.len(), 8, "{rows:?}");
    for row in &rows {
        assert!(number(row, "sagas_per_s") > 0.0, "{row}");
        assert!(number(row, "commits_per_saga") > 0.0, "{row}");
        assert!(number(row, "p99_ms") >= number(row, "p50_ms"), "{row}");
    }
}

#[test]
fn a_number_of_sagas_that_is_out_of_bounds_is_wrong_usage() {
    let output = evenkeel(&["bench", "sagas", "--concurrency", "0"])
        .output()
        .expect("the binary runs");
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn calls_are_measured_with_the_gateway_and_without() {
    let rows = rows(&[
        "gateway",
        "--concurrency",
        "2",
        "--rate",
        "0",
        "--backend-ms",
        "5",
        "--seconds",
        "1",
        "--warmup",
        "0",
    ]);
    for way in ["direct", "gateway"] {
        let found: Vec<&Value> = rows.iter().filter(|row| row["way"] == way).collect();
        assert!(!found.is_empty(), "{way}: {rows:?}");
        assert!(
            found.iter().all(|row| number(row, "calls_per_s") > 0.0),
            "{found:?}"
        );
    }
    // A service that takes 5 ms does not answer sooner.
    let slow = rows.iter().find(|row| row["case"] == "GetBalance, 5 ms");
    assert!(slow.is_some_and(|row| number(row, "p50_ms") >= 5.0), "{rows:?}");
}

#[test]
fn refunds_and_notifications_are_measured() {
    let rows = rows(&[
        "billing",
        "--concurrency",
        "1",
        "--notifies",
        "5",
        "--seconds",
        "2",
        "--warmup",
        "0",
    ]);
    assert!(rows.len() >= 2, "{rows:?}");
    assert!(rows.iter().all(|row| number(row, "count") > 0.0), "{rows:?}");
}

#[test]
fn websockets_that_come_and_go_lose_no_event() {
    let rows = rows(&[
        "watch",
        "--sockets",
        "20",
        "--users",
        "5",
        "--events",
        "10",
        "--reconnects",
        "3",
        "--seconds",
        "3",
    ]);
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert!(
        number(row, "events") > 0.0 && number(row, "reconnects") > 0.0,
        "{row}"
    );
    // Each event goes to the four sockets of its user.
    assert!(number(row, "frames") >= 4.0 * number(row, "events"), "{row}");
    assert_eq!((number(row, "lost"), number(row, "doubled")), (0.0, 0.0), "{row}");
}

#[test]
fn sagas_that_wait_are_measured() {
    let rows = rows(&["waiting", "--sagas", "100", "--seconds", "1"]);
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(number(row, "sagas"), 100.0);
    assert!(number(row, "processors_busy") < 1.0, "{row}");
}

#[test]
fn every_promise_of_an_idempotency_key_is_kept() {
    let output = evenkeel(&["bench", "repeat"])
        .env_remove("REDIS_URL")
        .output()
        .expect("the binary runs");
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    assert!(
        stdout(&output).contains("Every promise was kept"),
        "{}",
        stdout(&output)
    );
}
