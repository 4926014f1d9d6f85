//! What a pipeline makes of its provider's answers.

use doubles::ai::{Behaviour, Rule};
use serde_json::json;

use crate::world::{DEADLINE, World, ask, feature, reason, simple};
use test_support::eventually;

const fn status(code: u16) -> Behaviour {
    Behaviour::Status {
        code,
        retry_after: None,
    }
}

fn keys(world: &World) -> Vec<String> {
    world.provider.requests().into_iter().map(|r| r.key).collect()
}

#[tokio::test]
async fn a_pipeline_completes_and_the_saga_gets_its_result() {
    let world = World::new(simple()).await;
    let run = world.begin("simple", json!({ "text": "hello" })).await;
    assert_eq!(run.end().await.unwrap(), json!({ "said": "You said: say hello" }));
    assert_eq!(world.state(run.task_id).await, "processing");
    assert_eq!(keys(&world), [format!("{}/ASK/1", run.task_id)]);
    assert_eq!(
        world.provider.requests()[0].request_id,
        format!("{}/ASK/1", run.task_id)
    );
    let topics = [
        "task.created",
        "task.started",
        "task.progressed",
        "task.progressed",
    ];
    assert_eq!(world.topics(run.task_id).await, topics);
}

#[tokio::test]
async fn server_errors_are_retried_with_a_new_request_id_each() {
    let world = World::new(simple()).await;
    world.provider.program(vec![Rule::times(2, status(503))]);
    let run = world.begin("simple", json!({ "text": "x" })).await;
    run.end().await.unwrap();
    let expected: Vec<String> = (1..=3).map(|n| format!("{}/ASK/{n}", run.task_id)).collect();
    assert_eq!(keys(&world), expected);
    assert_eq!(world.provider.books().effects.len(), 1);
    let attempts = world
        .rows(
            "select to_jsonb(a) - 'task_id' - 'started_at' - 'finished_at' - 'request_id' from pipeline_attempts a
             where task_id = $1 and step = 'ASK' order by attempt",
            run.task_id,
        )
        .await;
    let failed = |n: u32| {
        json!({ "step": "ASK", "idx": 0, "attempt": n, "calls": 1, "outcome": "failed",
                "error_message": "demo_ai answered 503" })
    };
    let succeeded = json!({ "step": "ASK", "idx": 0, "attempt": 3, "calls": 1, "outcome": "succeeded",
                            "error_message": null });
    assert_eq!(attempts, [failed(1), failed(2), succeeded]);
}

#[tokio::test]
async fn retries_run_out_and_the_task_is_failing_until_its_saga_is_done() {
    let world = World::new(simple()).await;
    world.provider.program(vec![Rule::always(status(500))]);
    let run = world.begin("simple", json!({ "text": "x" })).await;
    let refused = run.end().await.unwrap_err();
    assert_eq!(reason(&refused), "PIPELINE_FAILED");
    assert_eq!(
        refused.message(),
        "step ASK: demo_ai answered 500; gave up after 4 calls"
    );
    assert!(rpc::step::is_stored(refused.metadata()));
    assert_eq!(world.provider.requests().len(), 4);
    assert_eq!(world.state(run.task_id).await, "failing");
    run.finish("REFUSED").await.unwrap();
    assert_eq!(world.state(run.task_id).await, "failed");
    let error = world
        .rows(
            "select jsonb_build_array(error_reason, error_message) from tasks where id = $1",
            run.task_id,
        )
        .await;
    let message = "step ASK: demo_ai answered 500; gave up after 4 calls";
    assert_eq!(error, [json!(["PIPELINE_FAILED", message])]);
    assert_eq!(
        world.topics(run.task_id).await,
        ["task.created", "task.started", "task.failed"]
    );
}

#[tokio::test]
async fn a_client_error_is_definite() {
    let world = World::new(simple()).await;
    world.provider.program(vec![Rule::times(1, status(400))]);
    let run = world.begin("simple", json!({ "text": "x" })).await;
    let refused = run.end().await.unwrap_err();
    assert_eq!(refused.message(), "step ASK: demo_ai answered 400");
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn a_busy_provider_uses_up_no_retry() {
    let world = World::new(simple()).await;
    let busy = Behaviour::Status {
        code: 429,
        retry_after: Some(0),
    };
    world.provider.program(vec![Rule::times(8, busy)]);
    let run = world.begin("simple", json!({ "text": "x" })).await;
    run.end().await.unwrap();
    assert_eq!(world.provider.requests().len(), 9);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let world = World::new(simple()).await;
    let busy = Behaviour::Status {
        code: 429,
        retry_after: Some(1),
    };
    world.provider.program(vec![Rule::times(1, busy)]);
    let began = tokio::time::Instant::now();
    let run = world.begin("simple", json!({ "text": "x" })).await;
    run.end().await.unwrap();
    assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_never_came_whole_is_asked_for_under_the_same_request_id() {
    let world = World::new(simple()).await;
    for behaviour in [
        Behaviour::Hang,
        Behaviour::Cut,
        Behaviour::Garbage,
        status(502),
        status(504),
    ] {
        world.provider.program(vec![Rule::times(1, behaviour.clone())]);
        let before = world.provider.requests().len();
        let run = world.begin("simple", json!({ "text": "x" })).await;
        run.end().await.unwrap();
        let key = format!("{}/ASK/1", run.task_id);
        assert_eq!(
            keys(&world)[before..],
            [key.clone(), key.clone()],
            "{behaviour:?}"
        );
        assert_eq!(world.provider.books().effects_of(&key), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_path_that_leads_nowhere_fails_the_task_and_is_named() {
    let world = World::new(simple()).await;
    let run = world.begin("simple", json!({ "txt": "x" })).await;
    let refused = run.end().await.unwrap_err();
    assert_eq!(refused.message(), "step ASK: nothing at input.text");
    assert_eq!(world.provider.requests(), []);
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_retried_then_fails_the_task() {
    let world = World::without_worker(simple(), |config| {
        config.providers.get_mut("demo_ai").unwrap().url = "http://127.0.0.1:9".to_owned();
    })
    .await;
    let _worker = world.worker().await;
    let run = world.begin("simple", json!({ "text": "x" })).await;
    let refused = run.end().await.unwrap_err();
    assert_eq!(
        refused.message(),
        "step ASK: demo_ai: no connection; gave up after 4 calls"
    );
}

#[tokio::test]
async fn an_answer_above_its_bounds_fails_the_task() {
    let world = World::new(json!({ "raw": feature(json!([ask("ASK", "{{input.text}}")])) })).await;
    let deep = (0..30).fold(json!(1), |inner, _| json!([inner]));
    for (output, cause) in [
        (
            json!("x".repeat(1_100_000)),
            "the answer of demo_ai is larger than 1048576 bytes",
        ),
        (json!("x".repeat(70_000)), "the result is larger than 65536 bytes"),
        (deep, "the answer of demo_ai is nested deeper than 24 levels"),
    ] {
        world
            .provider
            .program(vec![Rule::times(1, Behaviour::Output(output))]);
        let run = world.begin("raw", json!({ "text": "x" })).await;
        let refused = run.end().await.unwrap_err();
        assert_eq!(refused.message(), format!("step ASK: {cause}"));
    }
}

#[tokio::test]
async fn what_postgres_cannot_keep_does_no_harm() {
    let world = World::new(json!({ "raw": feature(json!([ask("ASK", "{{input.text}}")])) })).await;
    let output = Behaviour::Output(json!({ "a\u{0}": "x\u{0}y" }));
    world.provider.program(vec![Rule::times(1, output)]);
    let run = world.begin("raw", json!({ "text": "x" })).await;
    assert_eq!(
        run.end().await.unwrap()["output"],
        json!({ "a\u{fffd}": "x\u{fffd}y" })
    );
}

#[tokio::test]
async fn a_stopped_pipeline_starts_nothing_more_and_its_late_answer_is_dropped() {
    let world = World::new(json!({ "slow": feature(json!([
        { "name": "ASK", "kind": "http", "provider": "demo_ai", "path": "/v1/generate",
          "body": { "prompt": "slow" }, "timeout": "20s" },
        ask("MORE", "more"),
    ])) }))
    .await;
    world.provider.program(vec![
        Rule::always(Behaviour::Answer).prompt("slow").delay_ms(1_500),
    ]);
    let run = world.begin("slow", json!({})).await;
    world.until_asked(1).await;
    assert!(run.stop_pipeline("CANCELLED").await.unwrap().into_inner().stopped);
    assert_eq!(world.state(run.task_id).await, "failing");
    // A second run whose call began later is given up as well; by then the first one's answer would have come.
    let later = world.begin("slow", json!({})).await;
    eventually(DEADLINE, || async {
        world.provider.requests().iter().any(|r| r.prompt == "more")
    })
    .await;
    later.end().await.unwrap();
    let steps = "select jsonb_build_array(step, state) from pipeline_steps where task_id = $1";
    assert_eq!(world.rows(steps, run.task_id).await, [json!(["ASK", "running"])]);
    let state = "select to_jsonb(state) from pipeline_runs where task_id = $1";
    assert_eq!(world.rows(state, run.task_id).await, [json!("stopped")]);
    assert!(!keys(&world).contains(&format!("{}/MORE/1", run.task_id)));
    let superseded = run.run_pipeline().await.unwrap_err();
    assert_eq!(reason(&superseded), "SUPERSEDED");
}

#[tokio::test]
async fn the_delay_of_a_step_can_come_from_the_input() {
    let world = World::new(json!({ "wait": feature(json!([
        { "name": "PAUSE", "kind": "delay", "for": "{{input.wait}}" },
    ])) }))
    .await;
    let began = tokio::time::Instant::now();
    let run = world.begin("wait", json!({ "wait": "300ms" })).await;
    assert_eq!(run.end().await.unwrap(), json!({}));
    assert!(began.elapsed().as_millis() >= 300);
}
