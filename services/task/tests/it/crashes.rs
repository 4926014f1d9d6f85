//! Workers that die, restart, or work side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use doubles::ai::{Behaviour, Rule};
use serde_json::{Value, json};
use test_support::eventually;

use crate::world::{DEADLINE, World, ask, feature};

/// Every kind of step, in between the provider twice.
fn long() -> Value {
    json!({ "long": feature(json!([
        ask("FIRST", "first {{input.text}}"),
        { "name": "SHAPE", "kind": "transform", "output": { "a": "{{steps.FIRST.output.output}}" } },
        { "name": "PAUSE", "kind": "delay", "for": "300ms" },
        ask("SECOND", "second {{steps.SHAPE.output.a}}"),
    ])) })
}

fn once(keys: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    keys.into_iter().map(|key| (key, 1)).collect()
}

#[tokio::test]
async fn a_run_goes_on_after_its_worker_died_in_each_call() {
    let world = World::without_worker(long(), |_| {}).await;
    let slow = |prompt: &str| Rule::times(1, Behaviour::Answer).prompt(prompt).delay_ms(300);
    world.provider.program(vec![slow("first"), slow("second")]);

    let first = world.worker().await;
    let run = world.begin("long", json!({ "text": "x" })).await;
    world.until_asked(1).await;
    first.kill().await;
    let second = world.worker().await;
    // The call that was broken off comes again, then the second step's first one.
    world.until_asked(3).await;
    second.kill().await;
    let _third = world.worker().await;

    let result = run.end().await.unwrap();
    assert_eq!(result["output"], "You said: second You said: first x");
    let key = |step: &str| format!("{}/{step}/1", run.task_id);
    assert_eq!(world.effects(), once([key("FIRST"), key("SECOND")]));
    let keys: Vec<String> = world.provider.requests().into_iter().map(|r| r.key).collect();
    assert_eq!(keys, [key("FIRST"), key("FIRST"), key("SECOND"), key("SECOND")]);
}

#[tokio::test]
async fn a_delay_survives_its_worker_and_is_not_begun_anew() {
    let delay = json!({ "wait": feature(json!([{ "name": "PAUSE", "kind": "delay", "for": "1500ms" }])) });
    let world = World::without_worker(delay, |_| {}).await;
    let first = world.worker().await;
    let began = tokio::time::Instant::now();
    let run = world.begin("wait", json!({})).await;
    let waiting = "select to_jsonb(waiting) from pipeline_steps where task_id = $1";
    eventually(DEADLINE, || async {
        world.rows(waiting, run.task_id).await == [json!(true)]
    })
    .await;
    let wakes = "select to_jsonb(wake_at) from pipeline_runs where task_id = $1";
    let wake_at = world.rows(wakes, run.task_id).await;
    first.kill().await;
    let _second = world.worker().await;
    run.end().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!(world.rows(wakes, run.task_id).await, wake_at);
    let attempts = "select to_jsonb(attempt) from pipeline_attempts where task_id = $1";
    assert_eq!(world.rows(attempts, run.task_id).await, [json!(1)]);
}

#[tokio::test]
async fn no_effect_is_doubled_by_workers_that_die_at_any_moment() {
    let world = World::without_worker(long(), |_| {}).await;
    let slow = Rule::always(Behaviour::Answer).delay_ms(30);
    world.provider.program(vec![Rule::times(3, Behaviour::Cut), slow]);
    let mut runs = Vec::new();
    for n in 0..6 {
        runs.push(world.begin("long", json!({ "text": n })).await);
    }
    for _ in 0..6 {
        let worker = world.worker().await;
        let life = Duration::from_millis(rand::random_range(5..250));
        let ends = async {
            for run in &runs {
                run.end().await.unwrap();
            }
        };
        let _ = tokio::time::timeout(life, ends).await;
        worker.kill().await;
    }
    let _last = world.worker().await;
    let mut expected = Vec::new();
    for run in &runs {
        run.end().await.unwrap();
        expected.push(format!("{}/FIRST/1", run.task_id));
        expected.push(format!("{}/SECOND/1", run.task_id));
    }
    assert_eq!(world.effects(), once(expected));
}

#[tokio::test]
async fn workers_side_by_side_never_make_the_same_call() {
    let world = World::without_worker(long(), |_| {}).await;
    let _workers = (world.worker().await, world.worker().await, world.worker().await);
    let mut runs = Vec::new();
    for n in 0..20 {
        runs.push(world.begin("long", json!({ "text": n })).await);
    }
    for run in &runs {
        run.end().await.unwrap();
    }
    let books = world.provider.books();
    assert_eq!(
        (books.requests.len(), books.effects.len(), books.duplicates()),
        (40, 40, 0)
    );
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_lets_its_call_end_and_begins_no_other() {
    let world = World::without_worker(long(), |_| {}).await;
    world
        .provider
        .program(vec![Rule::times(1, Behaviour::Answer).delay_ms(300)]);
    let worker = world.worker().await;
    let run = world.begin("long", json!({ "text": "x" })).await;
    world.until_asked(1).await;
    worker.stop().await;
    let steps = "select jsonb_build_array(step, state) from pipeline_steps where task_id = $1";
    assert_eq!(
        world.rows(steps, run.task_id).await,
        [json!(["FIRST", "succeeded"])]
    );
    let free = "select to_jsonb(lease_token is null) from pipeline_runs where task_id = $1";
    assert_eq!(world.rows(free, run.task_id).await, [json!(true)]);
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_left_to_the_next_worker_at_once() {
    let world = World::without_worker(long(), |config| {
        config.worker.drain = Duration::ZERO;
        config.worker.lease = Duration::from_secs(600);
    })
    .await;
    world.provider.program(vec![Rule::times(1, Behaviour::Hang)]);
    let worker = world.worker().await;
    let run = world.begin("long", json!({ "text": "x" })).await;
    world.until_asked(1).await;
    worker.stop().await;
    let _next = world.worker().await;
    run.end().await.unwrap();
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn a_process_carries_out_no_more_runs_at_once_than_configured() {
    let world = World::without_worker(long(), |config| config.worker.parallel = 2).await;
    world
        .provider
        .program(vec![Rule::always(Behaviour::Answer).delay_ms(50)]);
    let _worker = world.worker().await;
    let mut runs = Vec::new();
    for n in 0..8 {
        runs.push(world.begin("long", json!({ "text": n })).await);
    }
    let leased = "select count(*) from pipeline_runs where lease_token is not null";
    let mut most = 0i64;
    for run in &runs {
        eventually(DEADLINE, || async {
            let now: i64 = sqlx::query_scalar(leased).fetch_one(&world.pool).await.unwrap();
            assert!(now <= 2, "{now} runs at once");
            let ended = "select to_jsonb(state) from pipeline_runs where task_id = $1";
            world.rows(ended, run.task_id).await == [json!("completed")]
        })
        .await;
        let now: i64 = sqlx::query_scalar(leased).fetch_one(&world.pool).await.unwrap();
        most = most.max(now);
    }
    assert!(most <= 2);
}
