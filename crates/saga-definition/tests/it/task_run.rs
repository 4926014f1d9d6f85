//! The definition that the task service ships, against the real descriptors.

use saga_definition::builder::{Builder, Call, Step as BuiltStep};
use saga_definition::{
    Barrier, Context, Definition, Expr, MapError, Participants, SagaContext, Target, Zone, check, compile,
    decode_json, encode_json,
};

use crate::lab::barrier;

const TASK_RUN: &str = include_str!("TASK_RUN.yaml");

fn participants() -> Participants {
    Participants::new(["evenkeel.quota.v1", "evenkeel.task.v1"])
}

fn task_run() -> Definition {
    compile(TASK_RUN, &proto::descriptor_pool(), &participants()).expect("TASK_RUN is right")
}

#[test]
fn it_has_the_steps_and_zones_promised() {
    let saga = task_run();
    let steps: Vec<_> = saga
        .steps()
        .iter()
        .map(|s| (s.name.as_str(), s.zone, s.after.clone()))
        .collect();
    assert_eq!(
        steps,
        [
            ("RESERVE_QUOTA", Zone::Compensatable, vec![]),
            ("CREATE_TASK", Zone::Compensatable, vec![0]),
            ("RUN_PIPELINE", Zone::Compensatable, vec![1]),
            ("CONFIRM_QUOTA", Zone::Retriable, vec![2]),
            ("COMPLETE_TASK", Zone::Retriable, vec![3]),
        ]
    );
    assert_eq!(saga.calls().count(), 9);
    assert!(saga.calls().all(|call| barrier(call) == Barrier::Transactional));
    let reserve = &saga.steps()[0].call;
    assert_eq!(reserve.name(), "/evenkeel.quota.v1.QuotaSteps/Reserve");
    assert!(
        matches!(reserve.target(), Target::Method { participant, .. } if participant == "evenkeel.quota.v1")
    );
    assert_eq!((reserve.retry.retries, reserve.timeout_ms), (Some(3), 10_000));
    assert_eq!(saga.steps()[3].call.retry.retries, None);
    assert_eq!(saga.steps()[4].call.with.steps_read(), [2]);
}

#[test]
fn its_requests_hold_what_the_definition_says() {
    let saga = task_run();
    let input = decode_json(
        saga.input(),
        r#"{"taskId":"t1","userId":"u1","featureId":"f","inputData":{"prompt":"hi"},"amount":"5","deadline":"60s"}"#,
        10_000,
    )
    .unwrap();
    let pipeline = decode_json(
        saga.steps()[2].call.reply_type(),
        r#"{"result":{"text":"done"}}"#,
        10_000,
    )
    .unwrap();
    let replies = [None, None, Some(&pipeline)];
    let context = Context {
        input: &input,
        replies: &replies,
        saga: SagaContext {
            id: "s1",
            business_id: "t1",
            reason: "REFUSED",
            failed_step: "RUN_PIPELINE",
            error: "no",
        },
    };
    let built: Vec<String> = saga
        .calls()
        .map(|call| encode_json(&call.with.build(&context).unwrap()).unwrap())
        .collect();
    assert_eq!(
        built,
        [
            r#"{"userId":"u1","taskId":"t1","amount":"5"}"#,
            r#"{"taskId":"t1"}"#,
            r#"{"amount":"5","featureId":"f","inputData":{"prompt":"hi"},"sagaId":"s1","taskId":"t1","userId":"u1"}"#,
            r#"{"taskId":"t1","cause":"REFUSED"}"#,
            r#"{"taskId":"t1"}"#,
            r#"{"taskId":"t1","cause":"REFUSED"}"#,
            r#"{"taskId":"t1"}"#,
            r#"{"result":{"text":"done"},"taskId":"t1"}"#,
            r#"{"taskId":"t1","cause":"REFUSED","failedStep":"RUN_PIPELINE","error":"no"}"#,
        ]
    );
    assert_eq!(saga.deadline_ms(&input), Ok(60_000));
    assert_eq!(saga.business_id_of(&input), Ok(Some("t1".to_owned())));
}

#[test]
fn an_input_without_a_usable_deadline_is_an_error() {
    let saga = task_run();
    let absent = decode_json(saga.input(), "{}", 100).unwrap();
    assert_eq!(
        saga.deadline_ms(&absent).unwrap_err().to_string(),
        "input.deadline is absent: `evenkeel.task.v1.TaskRunInput.deadline` is not set"
    );
    for seconds in ["0s", "-5s", "0.9s", "2592001s", "315576000000s"] {
        let input = decode_json(saga.input(), &format!(r#"{{"deadline":"{seconds}"}}"#), 100).unwrap();
        assert!(
            matches!(saga.deadline_ms(&input), Err(MapError::DurationOutOfRange { .. })),
            "{seconds}"
        );
    }
}

#[test]
fn it_checks_again_from_what_is_stored() {
    let saga = task_run();
    let pool = prost_reflect::DescriptorPool::decode(saga.closure().as_slice()).unwrap();
    for source in [TASK_RUN, saga.canonical()] {
        let again = compile(source, &pool, &saga.participants()).unwrap();
        assert_eq!(again.hash(), saga.hash());
        assert_eq!(saga_definition::wire_compatible(&saga, &again), Ok(()));
    }
}

#[test]
fn the_builder_gives_the_same_definition() {
    let task = |method: &str| Call::new(&format!("evenkeel.task.v1.TaskSteps/{method}"));
    let quota = |method: &str| Call::new(&format!("evenkeel.quota.v1.QuotaSteps/{method}"));
    let id = || Expr::path("input.task_id");
    let reason = || Expr::path("saga.reason");
    let source = Builder::new("TASK_RUN", 1, "evenkeel.task.v1.TaskRunInput")
        .business_id("input.task_id")
        .deadline_path("input.deadline")
        .step(
            BuiltStep::new(
                "RESERVE_QUOTA",
                quota("Reserve")
                    .with("task_id", id())
                    .with("user_id", Expr::path("input.user_id"))
                    .with("amount", Expr::path("input.amount")),
            )
            .compensate(quota("Cancel").with("task_id", id())),
        )
        .step(
            BuiltStep::new(
                "CREATE_TASK",
                task("CreateTaskRecord")
                    .with("task_id", id())
                    .with("user_id", Expr::path("input.user_id"))
                    .with("feature_id", Expr::path("input.feature_id"))
                    .with("input_data", Expr::path_or_default("input.input_data"))
                    .with("amount", Expr::path("input.amount"))
                    .with("saga_id", Expr::path("saga.id")),
            )
            .compensate(
                task("MarkTaskFailing")
                    .with("task_id", id())
                    .with("cause", reason()),
            ),
        )
        .step(
            BuiltStep::new("RUN_PIPELINE", task("RunPipeline").with("task_id", id()))
                .compensate(task("StopPipeline").with("task_id", id()).with("cause", reason())),
        )
        .step(BuiltStep::new("CONFIRM_QUOTA", quota("Confirm").with("task_id", id())).retriable())
        .step(
            BuiltStep::new(
                "COMPLETE_TASK",
                task("CompleteTask")
                    .with("task_id", id())
                    .with("result", Expr::path_or_default("steps.RUN_PIPELINE.result")),
            )
            .retriable(),
        )
        .on_compensated(
            task("FinishFailedTask")
                .with("task_id", id())
                .with("cause", reason())
                .with("failed_step", Expr::path("saga.failed_step"))
                .with("error", Expr::path("saga.error")),
        )
        .build();
    let built = check(&source, &proto::descriptor_pool(), &participants()).unwrap();
    assert_eq!(built.canonical(), task_run().canonical());
    assert_eq!(built.hash(), task_run().hash());
}
