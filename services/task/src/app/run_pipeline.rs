//! Step RUN_PIPELINE: begins the run, then looks at it until it has ended.

use std::time::Duration;

use barrier::{Again, Done, Stop};
use ids::TaskId;
use proto::task::v1::RunPipelineResponse;
use rpc::error::Reason;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::App;
use crate::domain::{Change, RunState, TaskState};
use crate::events::{self, Fact};
use crate::json;
use crate::store::runs;
use crate::store::tasks::{self, With};

/// Bounds of the time after which the saga asks again; in between it is a tenth of the run's age.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(1);

/// Begins the run of a task, or looks at it.
pub(crate) async fn run_pipeline(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
    again: Again,
) -> Result<Done<RunPipelineResponse>, Stop> {
    if again.0 {
        look(conn, task_id).await
    } else {
        begin(app, conn, call, task_id).await
    }
}

async fn begin(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
) -> Result<Done<RunPipelineResponse>, Stop> {
    let task = tasks::lock(conn, task_id, call.saga_id)
        .await?
        .ok_or_else(|| Stop::refuse(Reason::TaskNotFound, format!("this saga has no task {task_id}")))?;
    let feature = app.config.features.get(&task.feature_id).ok_or_else(|| {
        let message = format!("feature {:?} is not offered any more", task.feature_id);
        Stop::refuse(Reason::FeatureNotFound, message)
    })?;
    match task.state.change_to(TaskState::Processing) {
        Change::Make => {}
        Change::Made | Change::Impossible => {
            let message = format!(
                "task {task_id} is {} before its pipeline began",
                task.state.name()
            );
            return Err(Stop::refuse(Reason::PipelineFailed, message));
        }
    }
    let traceparent = telemetry::trace::current_traceparent();
    runs::insert(conn, task_id, call, &feature.pipeline, traceparent).await?;
    tasks::change(conn, &task, TaskState::Processing, With::default()).await?;
    events::write(conn, &task, Fact::Started).await?;
    Ok(Done::Pending { ask_again: SOONEST })
}

async fn look(conn: &mut PgConnection, task_id: TaskId) -> Result<Done<RunPipelineResponse>, Stop> {
    let run = runs::find(conn, task_id).await?.ok_or(sqlx::Error::RowNotFound)?;
    match run.state {
        RunState::Running => Ok(Done::Pending {
            ask_again: (run.age / 10).clamp(SOONEST, LATEST),
        }),
        RunState::Completed => Ok(Done::Reply(RunPipelineResponse {
            result: run.result.as_ref().map(json::to_struct),
        })),
        RunState::Failed => Err(Stop::refuse(
            Reason::PipelineFailed,
            run.error_message.unwrap_or_default(),
        )),
        RunState::Stopped => Err(Stop::refuse(Reason::PipelineFailed, "the pipeline was stopped")),
    }
}
