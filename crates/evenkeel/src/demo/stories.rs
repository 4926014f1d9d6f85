//! The six stories.

use std::pin::Pin;
use std::time::{Duration, Instant};

use doubles::ai::{Behaviour, Rule};
use proto::quota::v1::Balance;
use proto::saga::v1::{GetSagaResponse, OperationState, Saga, SagaPhase, SagaReason};
use proto::task::v1::TaskState;

use super::stage::Stage;
use super::web::Answer;
use crate::client;
use crate::exit::{Code, Failure};
use crate::output::{Cell, Table, Tone};
use crate::wiring::database;

/// What the features that ship cost.
const SUMMARIZE: (&str, i64) = ("summarize", 1);
const TRANSLATE: (&str, i64) = ("translate", 2);
/// Longest time from a restart to the first resumed step.
const RESUME_BOUND: Duration = Duration::from_secs(2);

type Played<'s> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 's>>;
type Story = for<'s> fn(&'s mut Stage<'_>) -> Played<'s>;

/// The stories in their order, with their titles.
pub(super) fn all() -> [(&'static str, Story); 6] {
    [
        (
            "Somebody registers, logs in and runs a task, watched live",
            |stage| Box::pin(completes(stage)),
        ),
        ("A task whose provider fails: the quota comes back", |stage| {
            Box::pin(provider_fails(stage))
        }),
        ("A task refused for lack of quota: there is no task", |stage| {
            Box::pin(refused(stage))
        }),
        ("A task cancelled half-way: the quota comes back", |stage| {
            Box::pin(cancelled(stage))
        }),
        ("A task that survives kill -9 of the orchestrator", |stage| {
            Box::pin(killed(stage))
        }),
        (
            "A plan bought, paid by scanning and refunded, with a provider that fails in between",
            |stage| Box::pin(super::money::bought_and_refunded(stage)),
        ),
    ]
}

async fn completes(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let text = "The harbour was quiet that morning.";
    let registered = stage.web.register().await?;
    let person = stage.web.login(&registered).await?;
    stage.narrator.say(&format!(
        "{} has registered and logged in over HTTP, and is granted 10.",
        person.user_id
    ))?;
    let before = stage.grant(&person, 10).await?;
    let mut watch = stage.web.watch(&person).await?;
    let key = uuid::Uuid::now_v7().to_string();
    let first = stage.create_task(&person, TRANSLATE.0, text, Some(&key)).await?;
    let task = created(stage, &first, TRANSLATE.0)?;
    let again = stage.create_task(&person, TRANSLATE.0, text, Some(&key)).await?;
    let told = watch.until(&task.task_id, ["COMPLETED", "FAILED"]).await?;
    stage
        .narrator
        .say(&format!("The WebSocket told: {}.", told.states.join(", ")))?;
    let ended = stage.end(&task.saga_id).await?;
    stage.timeline(&ended)?;
    let after = stage.balance(&person).await?;
    stage.narrator.quota(&before, &after)?;
    let task = stage.task(&task.task_id).await?;
    let phase = phase_of(&ended);
    stage.narrator.promise(
        phase == (SagaPhase::Completed, SagaReason::Unspecified),
        "the saga is COMPLETED",
    )?;
    let done = task.state() == TaskState::Completed && task.result.is_some();
    stage
        .narrator
        .promise(done, "the task is completed and has its result")?;
    let same = again.replayed && !first.replayed && again.body == first.body;
    let one = stage.tasks_of(&person).await? == 1;
    stage.narrator.promise(
        same && one,
        "the POST repeated with its Idempotency-Key had the first answer, and there is one task",
    )?;
    let gapless = told.numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let live = told.states.last().is_some_and(|state| state == "COMPLETED") && told.states.len() > 1;
    stage.narrator.promise(
        live && gapless,
        "the WebSocket told every change up to the end, numbered without a gap",
    )?;
    let refreshed = stage.web.refresh(&person).await?;
    stage.narrator.promise(
        refreshed.user_id == person.user_id,
        "the refresh token gave a new access token, which works",
    )?;
    conserved(stage, &after, &before, TRANSLATE.1)?;
    once(stage, text, 2)
}

async fn provider_fails(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let text = "A text the provider cannot bear.";
    stage.provider.program(vec![
        Rule::always(Behaviour::Status {
            code: 422,
            retry_after: None,
        })
        .prompt(text),
    ]);
    let (user, before) = stage.user_with(10).await?;
    let answer = stage.create_task(&user, SUMMARIZE.0, text, None).await?;
    let task = created(stage, &answer, SUMMARIZE.0)?;
    let ended = stage.end(&task.saga_id).await?;
    stage.timeline(&ended)?;
    let after = stage.balance(&user).await?;
    stage.narrator.quota(&before, &after)?;
    let task = stage.task(&task.task_id).await?;
    let phase = phase_of(&ended);
    stage.narrator.promise(
        phase == (SagaPhase::Compensated, SagaReason::Refused),
        "the saga is COMPENSATED (REFUSED)",
    )?;
    let failed = task.state() == TaskState::Failed && !task.error_reason.is_empty();
    stage
        .narrator
        .promise(failed, "the task is failed and says why")?;
    conserved(stage, &after, &before, 0)?;
    once(stage, text, 0)
}

async fn refused(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let text = "A text for which there is no money.";
    let (user, before) = stage.user_with(TRANSLATE.1 - 1).await?;
    let answer = stage.create_task(&user, TRANSLATE.0, text, None).await?;
    let reason = answer.text("reason").to_owned();
    stage
        .narrator
        .say(&format!("POST /tasks answered {} {reason}.", answer.status))?;
    if let Some(saga) = stage.saga_of(&user).await? {
        let ended = stage.end(&saga.saga_id).await?;
        stage.timeline(&ended)?;
    }
    let after = stage.balance(&user).await?;
    stage.narrator.quota(&before, &after)?;
    let told = answer.status == 403 && reason == "QUOTA_INSUFFICIENT";
    stage
        .narrator
        .promise(told, "the caller was told QUOTA_INSUFFICIENT at once")?;
    let tasks = stage.tasks_of(&user).await?;
    stage.narrator.promise(tasks == 0, "there is no task")?;
    conserved(stage, &after, &before, 0)?;
    once(stage, text, 0)
}

async fn cancelled(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let text = "A very long text.";
    stage
        .provider
        .program(vec![Rule::always(Behaviour::Hang).prompt(text)]);
    let (user, before) = stage.user_with(10).await?;
    let answer = stage.create_task(&user, SUMMARIZE.0, text, None).await?;
    let task = created(stage, &answer, SUMMARIZE.0)?;
    stage.until_asked(text).await?;
    let half_way = stage.balance(&user).await?;
    stage.narrator.say("The provider is at work; the user cancels.")?;
    let answer = stage.cancel_task(&user, &task.task_id).await?;
    let ended = stage.end(&task.saga_id).await?;
    stage.timeline(&ended)?;
    let after = stage.balance(&user).await?;
    stage.narrator.quota(&before, &after)?;
    stage.narrator.promise(
        half_way.reserved == SUMMARIZE.1,
        "the quota was reserved while the provider was at work",
    )?;
    let phase = phase_of(&ended);
    stage.narrator.promise(
        phase == (SagaPhase::Compensated, SagaReason::Cancelled),
        "the saga is COMPENSATED (CANCELLED)",
    )?;
    let task = stage.task(&task.task_id).await?;
    stage.narrator.promise(
        answer.status == 200 && task.state() == TaskState::Cancelled,
        "the task is cancelled",
    )?;
    conserved(stage, &after, &before, 0)
}

async fn killed(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let text = "The ship that would not sink.";
    stage.provider.program(vec![
        Rule::times(1, Behaviour::Answer).prompt(text).delay_ms(1_500),
    ]);
    let (user, before) = stage.user_with(10).await?;
    let answer = stage.create_task(&user, TRANSLATE.0, text, None).await?;
    let task = created(stage, &answer, TRANSLATE.0)?;
    stage.until_asked(text).await?;
    stage.until(&task.saga_id, "RUN_PIPELINE", in_the_middle).await?;
    let pid = stage.child.kill().await?;
    stage.narrator.say(&format!(
        "kill -9 {pid}, the orchestrator, in the middle of RUN_PIPELINE."
    ))?;
    let away = stage
        .saga(&task.saga_id)
        .await
        .is_err_and(|status| client::is_unreachable(&status));
    stage.narrator.promise(away, "the orchestrator is gone")?;
    stage.until_pipeline_done(&task.task_id).await?;
    stage
        .narrator
        .say("Meanwhile the task service has finished the pipeline. The orchestrator is started again.")?;
    let restarted = Instant::now();
    stage.child.spawn()?;
    stage
        .until(&task.saga_id, "a resumed step", pipeline_answered)
        .await?;
    let resumed = restarted.elapsed();
    let ended = stage.end(&task.saga_id).await?;
    stage.timeline(&ended)?;
    let after = stage.balance(&user).await?;
    stage.narrator.quota(&before, &after)?;
    let text_bound = format!("it went on within {} s of the restart", RESUME_BOUND.as_secs());
    stage.narrator.promise(resumed <= RESUME_BOUND, &text_bound)?;
    let phase = phase_of(&ended);
    stage.narrator.promise(
        phase == (SagaPhase::Completed, SagaReason::Unspecified),
        "the saga is COMPLETED",
    )?;
    let task = stage.task(&task.task_id).await?;
    stage
        .narrator
        .promise(task.state() == TaskState::Completed, "the task is completed")?;
    conserved(stage, &after, &before, TRANSLATE.1)?;
    once(stage, text, 2)
}

/// What is true of all stories together.
pub(super) async fn epilogue(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.narrator.heading("All together")?;
    stage
        .narrator
        .say("In SQL: select status, reason, count(*) from saga_instances group by 1, 2")?;
    let counts = database::saga_counts(&stage.places.database).await?;
    let mut table = Table::plain();
    for (status, reason, count) in &counts {
        table.row(vec![
            Cell::new(status, Tone::Bold),
            reason.as_str().into(),
            count.to_string().into(),
        ]);
    }
    stage.narrator.show(table)?;
    let open = counts
        .iter()
        .any(|(status, _, _)| status == "RUNNING" || status == "COMPENSATING");
    stage.narrator.promise(!open, "no saga is left half-way")?;
    let drift = database::quota_drift(&stage.places.database).await?;
    stage.narrator.promise(
        drift.is_empty(),
        "every quota account equals its ledger, reservations and grants",
    )
}

/// What the answer to a POST says of the new task.
struct Created {
    task_id: String,
    saga_id: String,
}

/// Reads the answer to a POST that must not be refused, and says what it was.
fn created(stage: &Stage<'_>, answer: &Answer, feature: &str) -> Result<Created, Failure> {
    let task = Created {
        task_id: answer.text("taskId").to_owned(),
        saga_id: answer.text("sagaId").to_owned(),
    };
    if answer.status != 200 || task.task_id.is_empty() {
        let told = format!("POST /tasks answered {}: {}", answer.status, answer.body);
        return Err(Failure::new(Code::Failed, told));
    }
    stage.narrator.say(&format!(
        "POST /tasks ({feature}) answered {}, {}.",
        task.task_id,
        answer.text("status")
    ))?;
    Ok(task)
}

fn phase_of(answer: &GetSagaResponse) -> (SagaPhase, SagaReason) {
    answer
        .saga
        .as_ref()
        .map_or((SagaPhase::Unspecified, SagaReason::Unspecified), |saga| {
            (saga.phase(), saga.reason())
        })
}

/// True while the pipeline runs and its outcome is not known.
fn in_the_middle(saga: &Saga) -> bool {
    matches!(
        pipeline(saga),
        Some(OperationState::Running | OperationState::Pending)
    )
}

/// True once the orchestrator has recorded the pipeline's result.
fn pipeline_answered(saga: &Saga) -> bool {
    pipeline(saga) == Some(OperationState::Succeeded)
}

fn pipeline(saga: &Saga) -> Option<OperationState> {
    let step = saga.steps.iter().find(|step| step.name == "RUN_PIPELINE")?;
    step.action.as_ref().map(proto::saga::v1::Operation::state)
}

/// Promises that nothing was lost and exactly `cost` was consumed.
fn conserved(stage: &mut Stage<'_>, after: &Balance, before: &Balance, cost: i64) -> Result<(), Failure> {
    let sum = after.available + after.reserved + after.consumed;
    stage
        .narrator
        .promise(after.granted == sum, "granted = available + reserved + consumed")?;
    let exact = after.reserved == 0
        && after.consumed == before.consumed + cost
        && after.available == before.available - cost;
    let text = match cost {
        0 => "the quota is as it was before".to_owned(),
        cost => format!("{cost} consumed, nothing left reserved"),
    };
    stage.narrator.promise(exact, &text)
}

/// Promises that the provider did its work exactly `times` times, never twice for one request.
fn once(stage: &mut Stage<'_>, text: &str, times: usize) -> Result<(), Failure> {
    let (effects, doubled) = stage.effects(text);
    let promise = match times {
        0 => "the provider's books have nothing to pay for".to_owned(),
        times => format!("the provider's books have {times} effects, none doubled"),
    };
    stage.narrator.promise(effects == times && !doubled, &promise)
}
