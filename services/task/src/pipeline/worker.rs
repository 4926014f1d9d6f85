//! The background job that carries out pipelines.
//!
//! It claims runs that are due, drives each in a task of its own, and lets go of a run that has to wait. What it knows
//! of a run is what the tables say: it decides with [`attempts`], records, calls, records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use barrier::Guard;
use process::PoolGauge;
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::attempts::{self, Plan, Record, Verdict};
use super::kinds::Call;
use super::kinds::http::Providers;
use super::template::Context;
use crate::config;
use crate::domain::{Change, TaskState};
use crate::events::{self, Fact};
use crate::feed::Feeds;
use crate::store::feed;
use crate::store::runs::{self, Attempt, Claim, End};
use crate::store::tasks::{self, With};
use rpc::error::Reason;

/// Shortest pause between two scans, so that a run that cannot be claimed makes no hot loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the database did not answer.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Carries out pipelines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker {
    pool: PoolGauge,
    providers: Arc<Providers>,
    config: config::Worker,
    hint: Arc<Notify>,
    feeds: Feeds,
}

/// Why a run is let go.
#[derive(Debug, thiserror::Error)]
enum Gone {
    /// Somebody else works on it, or it was stopped: nothing more may be recorded.
    #[error("the run was stopped, or another worker has it")]
    Lost,
    /// It waits for its time, or has ended.
    #[error("the run is not due")]
    Settled,
    /// The database does not answer. The lease ends by itself.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// The tables say something that cannot be.
    #[error("{0}")]
    Broken(&'static str),
}

impl Worker {
    /// Makes a worker. A notification of `hint` makes it look for due runs at once; without one it looks every
    /// `config.scan`.
    #[must_use]
    pub(crate) const fn new(
        pool: PoolGauge,
        providers: Arc<Providers>,
        config: config::Worker,
        hint: Arc<Notify>,
        feeds: Feeds,
    ) -> Self {
        Self {
            pool,
            providers,
            config,
            hint,
            feeds,
        }
    }

    /// Works until `stop` is cancelled, then lets calls under way end within `config.drain`. If the future is dropped,
    /// calls are broken off; their runs go on elsewhere when the leases have ended.
    pub async fn run(self, stop: CancellationToken) {
        let mut driven: JoinSet<()> = JoinSet::new();
        let mut claims: HashMap<Id, Claim> = HashMap::new();
        while !stop.is_cancelled() {
            let pause = match self.claim(&mut driven, &mut claims, &stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(
                        error = barrier::chain(&error),
                        "cannot look for due pipeline runs"
                    );
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.hint.notified() => {}
                () = sleep(pause) => {}
                Some(ended) = driven.join_next_with_id() => forget(&mut claims, ended),
            }
        }
        self.drain(driven, claims).await;
    }

    /// Claims as many runs as there is room for. Returns how long to wait for the next ones.
    async fn claim(
        &self,
        driven: &mut JoinSet<()>,
        claims: &mut HashMap<Id, Claim>,
        stop: &CancellationToken,
    ) -> Result<Duration, sqlx::Error> {
        let parallel = usize::try_from(self.config.parallel).unwrap_or(usize::MAX);
        let room = parallel.saturating_sub(driven.len());
        if room == 0 {
            return Ok(self.config.scan);
        }
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        for claim in runs::claim(&self.pool, limit, self.config.lease).await? {
            let (worker, stop) = (self.clone(), stop.clone());
            let mine = claim.clone();
            let handle = driven.spawn(async move { worker.drive(&mine, &stop).await });
            claims.insert(handle.id(), claim);
        }
        let due = runs::next_due(&self.pool).await?;
        Ok(due.map_or(self.config.scan, |due| {
            due.clamp(SHORTEST_PAUSE, self.config.scan.max(SHORTEST_PAUSE))
        }))
    }

    async fn drain(&self, mut driven: JoinSet<()>, mut claims: HashMap<Id, Claim>) {
        let all = async {
            while let Some(ended) = driven.join_next_with_id().await {
                forget(&mut claims, ended);
            }
        };
        if timeout(self.config.drain, all).await.is_ok() {
            return;
        }
        driven.abort_all();
        while driven.join_next().await.is_some() {}
        for claim in claims.values() {
            // If this fails the lease ends by itself.
            if let Err(error) = runs::release(&self.pool, claim, Duration::ZERO).await {
                tracing::warn!(task_id = %claim.task_id, error = barrier::chain(&error), "cannot release a run");
            }
        }
    }

    /// Drives one run until it ends, waits, or is lost.
    async fn drive(&self, claim: &Claim, stop: &CancellationToken) {
        let parent = claim
            .traceparent
            .as_deref()
            .and_then(|text| telemetry::trace::parse_traceparent(text).ok());
        let steps = async {
            loop {
                if let Err(gone) = self.step(claim, stop).await {
                    return gone;
                }
            }
        };
        let gone = match parent {
            Some(parent) => telemetry::trace::scope(parent, steps).await,
            None => steps.await,
        };
        match gone {
            Gone::Settled => {}
            Gone::Lost => {
                tracing::info!(task_id = %claim.task_id, saga_id = %claim.saga_id, "pipeline run lost")
            }
            Gone::Database(_) | Gone::Broken(_) => tracing::warn!(
                task_id = %claim.task_id,
                saga_id = %claim.saga_id,
                error = barrier::chain(&gone),
                "pipeline run left alone until its lease ends"
            ),
        }
    }

    /// Makes the next attempt of a run, from the record before to the record after.
    async fn step(&self, claim: &Claim, stop: &CancellationToken) -> Result<(), Gone> {
        if stop.is_cancelled() {
            return self.release(claim, Duration::ZERO).await;
        }
        let input = tasks::input(&self.pool, claim.task_id).await?;
        let records = runs::records(&self.pool, claim.task_id).await?;
        let plan = attempts::next(&claim.spec, &records)
            .ok_or(Gone::Broken("every step of a running pipeline has an output"))?;
        let task_id = claim.task_id.to_string();
        let request_id = attempts::request_id(&task_id, &plan.step.name, plan.attempt);
        let attempt = Attempt {
            claim,
            step: &plan.step.name,
            number: plan.attempt,
        };
        if !runs::begin(&self.pool, attempt, &request_id, self.config.lease).await? {
            return Err(Gone::Lost);
        }
        let context = context(&task_id, input, records);
        let handler = plan.step.kind.handler();
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = handler.attempt(Call {
                context: &context,
                providers: &self.providers,
                request_id: &request_id,
                waited: plan.waited,
            }) => outcome,
            gone = self.keep(claim) => return Err(gone),
        };
        let verdict = attempts::judge(&plan, outcome, &handler.retry(), rand::random());
        log(claim, &plan, &verdict, began.elapsed());
        self.record(attempt, &plan, verdict).await
    }

    /// Extends the lease for as long as it lasts. Returns when the run is lost.
    async fn keep(&self, claim: &Claim) -> Gone {
        let mut held = Instant::now();
        loop {
            sleep(self.config.lease / 4).await;
            match runs::hold(&self.pool, claim, self.config.lease).await {
                Ok(true) => held = Instant::now(),
                Ok(false) => return Gone::Lost,
                Err(error) if held.elapsed() < self.config.lease => {
                    tracing::warn!(task_id = %claim.task_id, error = barrier::chain(&error), "cannot extend a lease");
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn release(&self, claim: &Claim, wait: Duration) -> Result<(), Gone> {
        if runs::release(&self.pool, claim, wait).await? {
            Err(Gone::Settled)
        } else {
            Err(Gone::Lost)
        }
    }

    /// Records what became of an attempt, in one transaction. Nothing is recorded for a run that was lost meanwhile.
    async fn record(&self, attempt: Attempt<'_>, plan: &Plan<'_>, verdict: Verdict) -> Result<(), Gone> {
        let mut tx = self.pool.begin().await?;
        match verdict {
            Verdict::Succeed(output) => {
                self.hold_in(&mut tx, attempt.claim, plan.last).await?;
                succeed(&mut tx, attempt, plan, output).await?;
                tx.commit().await?;
                self.feeds.written();
                if plan.last { Err(Gone::Settled) } else { Ok(()) }
            }
            Verdict::Fail(cause) => {
                self.hold_in(&mut tx, attempt.claim, true).await?;
                fail(&mut tx, attempt, &cause).await?;
                tx.commit().await?;
                self.feeds.written();
                Err(Gone::Settled)
            }
            Verdict::Sleep(length) => {
                self.hold_in(&mut tx, attempt.claim, false).await?;
                runs::wait(&mut tx, attempt).await?;
                runs::release(&mut *tx, attempt.claim, length).await?;
                tx.commit().await?;
                Err(Gone::Settled)
            }
            Verdict::Retry {
                wait,
                failures,
                ended,
                cause,
            } => {
                self.hold_in(&mut tx, attempt.claim, false).await?;
                runs::retry_later(&mut tx, attempt, failures, ended, &cause).await?;
                runs::note(&mut tx, attempt, Some(&cause), ended).await?;
                runs::release(&mut *tx, attempt.claim, wait).await?;
                tx.commit().await?;
                Err(Gone::Settled)
            }
        }
    }

    /// Locks the run's row, if it is still ours. The transaction that ends a run locks its barrier row before that, and
    /// gives up if the saga has compensated the step.
    async fn hold_in(&self, tx: &mut PgConnection, claim: &Claim, ends: bool) -> Result<(), Gone> {
        if ends {
            match barrier::guard(tx, claim.saga_id, &claim.saga_step, claim.saga_index).await? {
                Guard::Wanted => {}
                Guard::Superseded => return Err(Gone::Lost),
                Guard::Absent => return Err(Gone::Broken("the run has no barrier row")),
            }
        }
        if runs::hold(tx, claim, self.config.lease).await? {
            Ok(())
        } else {
            Err(Gone::Lost)
        }
    }
}

fn context(task_id: &str, input: Value, records: BTreeMap<String, Record>) -> Context {
    let mut context = Context::new(task_id, input);
    for (step, record) in records {
        if let Some(output) = record.output {
            context.add_output(&step, output);
        }
    }
    context
}

async fn succeed(
    tx: &mut PgConnection,
    attempt: Attempt<'_>,
    plan: &Plan<'_>,
    output: Value,
) -> Result<(), Gone> {
    let claim = attempt.claim;
    runs::succeed(tx, attempt, &output).await?;
    runs::note(tx, attempt, None, true).await?;
    let done = runs::count_step(tx, claim).await?;
    if plan.last {
        runs::end(tx, claim, End::Completed(&attempts::result(output))).await?;
    }
    let task = tasks::lock(tx, claim.task_id, claim.saga_id)
        .await?
        .ok_or(Gone::Broken("the run has no task"))?;
    let fact = Fact::Progressed {
        step: attempt.step,
        done,
        total: claim.spec.steps.len(),
    };
    events::write(tx, &task, fact).await?;
    feed::append_task(tx, task.user_id, task.id).await?;
    Ok(())
}

/// Ends a run that cannot be completed. Its task becomes `failing`, not `failed`: its quota is not back yet.
async fn fail(tx: &mut PgConnection, attempt: Attempt<'_>, cause: &str) -> Result<(), Gone> {
    let claim = attempt.claim;
    let message = format!("step {}: {cause}", attempt.step);
    runs::fail(tx, attempt, cause).await?;
    runs::note(tx, attempt, Some(cause), true).await?;
    runs::end(tx, claim, End::Failed(&message)).await?;
    let task = tasks::lock(tx, claim.task_id, claim.saga_id)
        .await?
        .ok_or(Gone::Broken("the run has no task"))?;
    match task.state.change_to(TaskState::Failing) {
        Change::Make => {
            let with = With {
                error: Some((Reason::PipelineFailed.name(), &message)),
                ..With::default()
            };
            tasks::change(tx, &task, TaskState::Failing, with).await?;
            Ok(())
        }
        Change::Made => Ok(()),
        Change::Impossible => Err(Gone::Broken("the task of a running pipeline has ended")),
    }
}

fn forget(claims: &mut HashMap<Id, Claim>, ended: Result<(Id, ()), JoinError>) {
    match ended {
        Ok((id, ())) => {
            claims.remove(&id);
        }
        Err(error) => {
            // The lease ends, and the run is tried again; the saga's deadline bounds how often.
            let task_id = claims.remove(&error.id()).map(|claim| claim.task_id);
            tracing::error!(task_id = ?task_id, error = %error, "a pipeline step panicked");
        }
    }
}

/// One line for each attempt.
fn log(claim: &Claim, plan: &Plan<'_>, verdict: &Verdict, took: Duration) {
    let (outcome, cause) = match verdict {
        Verdict::Succeed(_) => ("succeeded", ""),
        Verdict::Sleep(_) => ("waiting", ""),
        Verdict::Retry { cause, .. } => ("retrying", cause.as_str()),
        Verdict::Fail(cause) => ("failed", cause.as_str()),
    };
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        task_id = %claim.task_id,
        saga_id = %claim.saga_id,
        step = plan.step.name,
        attempt = plan.attempt,
        outcome,
        cause,
        duration_ms,
        "pipeline step attempt"
    );
}
