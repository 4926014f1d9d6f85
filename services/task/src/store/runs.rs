//! The tables of pipeline runs.
//!
//! What a worker writes names its lease token and asks that the run is running. A worker that gets `false` has lost
//! the run, or the run was stopped: it writes nothing more.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{SagaId, TaskId};
use rpc::step::StepCall;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use crate::domain::RunState;
use crate::pipeline::attempts::Record;
use crate::pipeline::spec::Pipeline;

/// Index of steps that are not fanned out.
const NO_INDEX: i32 = 0;

fn decode(problem: String) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

/// Inserts a run that is due at once.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    task_id: TaskId,
    call: &StepCall,
    spec: &Pipeline,
    traceparent: Option<String>,
) -> Result<(), sqlx::Error> {
    let index = i32::try_from(call.index).map_err(|_| decode("the step index is too large".to_owned()))?;
    let steps = i32::try_from(spec.steps.len()).map_err(|_| decode("too many steps".to_owned()))?;
    sqlx::query(
        "insert into pipeline_runs
            (task_id, saga_id, saga_step, saga_index, spec, steps_total, traceparent)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(task_id.uuid())
    .bind(call.saga_id.uuid())
    .bind(&call.step)
    .bind(index)
    .bind(Json(spec))
    .bind(steps)
    .bind(traceparent)
    .execute(conn)
    .await?;
    Ok(())
}

/// A run, as the saga sees it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) state: RunState,
    pub(crate) result: Option<Value>,
    pub(crate) error_message: Option<String>,
    /// Time since it began.
    pub(crate) age: Duration,
}

impl FromRow<'_, PgRow> for View {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let name: &str = row.try_get("state")?;
        Ok(Self {
            state: RunState::from_name(name)
                .ok_or_else(|| decode(format!("no run state is named {name:?}")))?,
            result: row.try_get("result")?,
            error_message: row.try_get("error_message")?,
            age: seconds(row.try_get("age")?),
        })
    }
}

/// Reads seconds from the database; below zero counts as zero.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Finds the run of a task.
pub(crate) async fn find(db: impl PgExecutor<'_>, task_id: TaskId) -> Result<Option<View>, sqlx::Error> {
    sqlx::query_as(
        "select state, result, error_message,
                extract(epoch from clock_timestamp() - created_at)::float8 as age
         from pipeline_runs where task_id = $1",
    )
    .bind(task_id.uuid())
    .fetch_optional(db)
    .await
}

/// Stops a run of this saga. False if there is none, or it has ended.
pub(crate) async fn stop(
    conn: &mut PgConnection,
    task_id: TaskId,
    saga_id: SagaId,
) -> Result<bool, sqlx::Error> {
    let stopped = sqlx::query(
        "update pipeline_runs
         set state = 'stopped', ended_at = now(), updated_at = now(), lease_token = null, lease_until = null
         where task_id = $1 and saga_id = $2 and state = 'running'",
    )
    .bind(task_id.uuid())
    .bind(saga_id.uuid())
    .execute(conn)
    .await?;
    Ok(stopped.rows_affected() == 1)
}

/// A run that this worker may work on, until its lease ends.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) task_id: TaskId,
    pub(crate) token: Uuid,
    pub(crate) saga_id: SagaId,
    pub(crate) saga_step: String,
    pub(crate) saga_index: u32,
    pub(crate) spec: Pipeline,
    pub(crate) traceparent: Option<String>,
}

impl FromRow<'_, PgRow> for Claim {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Json(spec) = row.try_get("spec")?;
        let index: i32 = row.try_get("saga_index")?;
        Ok(Self {
            task_id: TaskId::from_uuid(row.try_get("task_id")?),
            token: row.try_get("lease_token")?,
            saga_id: SagaId::from_uuid(row.try_get("saga_id")?),
            saga_step: row.try_get("saga_step")?,
            saga_index: u32::try_from(index).map_err(|e| sqlx::Error::Decode(e.into()))?,
            spec,
            traceparent: row.try_get("traceparent")?,
        })
    }
}

/// Claims runs that are due and that nobody works on, the longest due first. To be run in a transaction of its own:
/// `now()` is then the time, and one that an index can be asked for.
pub(crate) async fn claim(
    db: impl PgExecutor<'_>,
    limit: i64,
    lease: Duration,
) -> Result<Vec<Claim>, sqlx::Error> {
    let rows = sqlx::query(
        "with due as (
            select task_id from pipeline_runs
            where state = 'running' and wake_at <= now()
              and (lease_until is null or lease_until <= now())
            order by wake_at
            limit $1
            for update skip locked
         )
         update pipeline_runs r
         set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => $2)
         from due where r.task_id = due.task_id
         returning r.task_id, r.lease_token, r.saga_id, r.saga_step, r.saga_index, r.spec, r.traceparent",
    )
    .bind(limit)
    .bind(lease.as_secs_f64())
    .fetch_all(db)
    .await?;
    let readable = |row: &PgRow| match Claim::from_row(row) {
        Ok(claim) => Some(claim),
        Err(error) => {
            // A newer version of the service wrote it. Its lease ends, and a replica that knows it may take it.
            tracing::error!(error = %error, "a pipeline run cannot be read; leaving it");
            None
        }
    };
    Ok(rows.iter().filter_map(readable).collect())
}

/// Returns the time until the next run that nobody works on is due, zero if it is; `None` if there is none. Runs whose
/// worker died are left to the next scan after their lease.
pub(crate) async fn next_due(db: impl PgExecutor<'_>) -> Result<Option<Duration>, sqlx::Error> {
    let due: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from wake_at - clock_timestamp())::float8
         from pipeline_runs where state = 'running' and lease_token is null
         order by wake_at limit 1",
    )
    .fetch_optional(db)
    .await?;
    Ok(due.map(seconds))
}

/// Reads what is recorded of a run's steps.
pub(crate) async fn records(
    db: impl PgExecutor<'_>,
    task_id: TaskId,
) -> Result<BTreeMap<String, Record>, sqlx::Error> {
    let rows = sqlx::query(
        "select step, attempt, open, waiting, failures, output from pipeline_steps
         where task_id = $1 and idx = $2",
    )
    .bind(task_id.uuid())
    .bind(NO_INDEX)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let record = Record {
                attempt: unsigned(row.try_get("attempt")?)?,
                open: row.try_get("open")?,
                waiting: row.try_get("waiting")?,
                failures: unsigned(row.try_get("failures")?)?,
                output: row.try_get("output")?,
            };
            Ok((row.try_get("step")?, record))
        })
        .collect()
}

fn unsigned(number: i32) -> Result<u32, sqlx::Error> {
    u32::try_from(number).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn signed(number: u32) -> Result<i32, sqlx::Error> {
    i32::try_from(number).map_err(|e| sqlx::Error::Encode(e.into()))
}

/// Extends the lease. False if the run is not ours any more, or not running.
pub(crate) async fn hold(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let held = sqlx::query(
        "update pipeline_runs set lease_until = clock_timestamp() + make_interval(secs => $3)
         where task_id = $1 and lease_token = $2 and state = 'running'",
    )
    .bind(claim.task_id.uuid())
    .bind(claim.token)
    .bind(lease.as_secs_f64())
    .execute(db)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// Gives up the lease; the run may be claimed again after `wait`. False if it is not ours any more, or not running.
pub(crate) async fn release(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    wait: Duration,
) -> Result<bool, sqlx::Error> {
    let released = sqlx::query(
        "update pipeline_runs
         set lease_token = null, lease_until = null, updated_at = now(),
             wake_at = clock_timestamp() + make_interval(secs => $3)
         where task_id = $1 and lease_token = $2 and state = 'running'",
    )
    .bind(claim.task_id.uuid())
    .bind(claim.token)
    .bind(wait.as_secs_f64())
    .execute(db)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// One attempt of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) claim: &'a Claim,
    pub(crate) step: &'a str,
    pub(crate) number: u32,
}

/// Records that an attempt is about to be made, and extends the lease. False if the run is not ours any more.
pub(crate) async fn begin(
    db: impl PgExecutor<'_>,
    attempt: Attempt<'_>,
    request_id: &str,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "with held as (
            update pipeline_runs
            set lease_until = clock_timestamp() + make_interval(secs => $7), updated_at = now()
            where task_id = $1 and lease_token = $2 and state = 'running'
            returning task_id
         ), begun as (
            insert into pipeline_steps (task_id, step, idx, state, attempt, open)
            select task_id, $3, $4, 'running', $5, true from held
            on conflict (task_id, step, idx) do update set attempt = excluded.attempt, open = true
            returning task_id
         )
         insert into pipeline_attempts (task_id, step, idx, attempt, request_id)
         select task_id, $3, $4, $5, $6 from begun
         on conflict (task_id, step, idx, attempt) do update set calls = pipeline_attempts.calls + 1",
    )
    .bind(attempt.claim.task_id.uuid())
    .bind(attempt.claim.token)
    .bind(attempt.step)
    .bind(NO_INDEX)
    .bind(signed(attempt.number)?)
    .bind(request_id)
    .bind(lease.as_secs_f64())
    .execute(db)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Records the output of a step. The caller holds the run's row.
pub(crate) async fn succeed(
    conn: &mut PgConnection,
    attempt: Attempt<'_>,
    output: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update pipeline_steps
         set state = 'succeeded', open = false, waiting = false, output = $4, error_message = null,
             finished_at = now()
         where task_id = $1 and step = $2 and idx = $3",
    )
    .bind(attempt.claim.task_id.uuid())
    .bind(attempt.step)
    .bind(NO_INDEX)
    .bind(Json(output))
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a finished step. The caller holds the run's row. Returns how many are done.
pub(crate) async fn count_step(conn: &mut PgConnection, claim: &Claim) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar(
        "update pipeline_runs set steps_done = steps_done + 1, updated_at = now()
         where task_id = $1 returning steps_done",
    )
    .bind(claim.task_id.uuid())
    .fetch_one(conn)
    .await
}

/// Records a failure that will be retried. The caller holds the run's row. An attempt that has not `ended` stays open.
pub(crate) async fn retry_later(
    conn: &mut PgConnection,
    attempt: Attempt<'_>,
    failures: u32,
    ended: bool,
    cause: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update pipeline_steps set open = not $4, failures = $5, error_message = $6
         where task_id = $1 and step = $2 and idx = $3",
    )
    .bind(attempt.claim.task_id.uuid())
    .bind(attempt.step)
    .bind(NO_INDEX)
    .bind(ended)
    .bind(signed(failures)?)
    .bind(cause)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that an attempt waits until the run wakes. The caller holds the run's row.
pub(crate) async fn wait(conn: &mut PgConnection, attempt: Attempt<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("update pipeline_steps set waiting = true where task_id = $1 and step = $2 and idx = $3")
        .bind(attempt.claim.task_id.uuid())
        .bind(attempt.step)
        .bind(NO_INDEX)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that a step has failed for good. The caller holds the run's row.
pub(crate) async fn fail(
    conn: &mut PgConnection,
    attempt: Attempt<'_>,
    cause: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update pipeline_steps
         set state = 'failed', open = false, waiting = false, error_message = $4, finished_at = now()
         where task_id = $1 and step = $2 and idx = $3",
    )
    .bind(attempt.claim.task_id.uuid())
    .bind(attempt.step)
    .bind(NO_INDEX)
    .bind(cause)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records in the history how an attempt went; one that has not `ended` only gets the message.
pub(crate) async fn note(
    conn: &mut PgConnection,
    attempt: Attempt<'_>,
    error: Option<&str>,
    ended: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update pipeline_attempts
         set error_message = $5,
             outcome = case when not $6 then null when $5 is null then 'succeeded' else 'failed' end,
             finished_at = case when $6 then now() end
         where task_id = $1 and step = $2 and idx = $3 and attempt = $4",
    )
    .bind(attempt.claim.task_id.uuid())
    .bind(attempt.step)
    .bind(NO_INDEX)
    .bind(signed(attempt.number)?)
    .bind(error)
    .bind(ended)
    .execute(conn)
    .await?;
    Ok(())
}

/// How a run ends by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End<'a> {
    /// With this result, an object.
    Completed(&'a Value),
    /// With this message.
    Failed(&'a str),
}

/// Ends a run. The caller holds its row.
pub(crate) async fn end(conn: &mut PgConnection, claim: &Claim, end: End<'_>) -> Result<(), sqlx::Error> {
    let (state, result, message) = match end {
        End::Completed(result) => (RunState::Completed, Some(Json(result)), None),
        End::Failed(message) => (RunState::Failed, None, Some(message)),
    };
    sqlx::query(
        "update pipeline_runs
         set state = $2, result = $3, error_message = $4, ended_at = now(), updated_at = now(),
             lease_token = null, lease_until = null
         where task_id = $1",
    )
    .bind(claim.task_id.uuid())
    .bind(state.name())
    .bind(result)
    .bind(message)
    .execute(conn)
    .await?;
    Ok(())
}
