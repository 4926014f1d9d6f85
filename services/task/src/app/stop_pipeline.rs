//! Compensation of RUN_PIPELINE: no further step starts, and the task is `failing`.

use barrier::{Done, Stop};
use ids::TaskId;
use proto::task::v1::StopPipelineResponse;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::mark_task_failing::to_failing;
use crate::store::runs;

/// Stops the run of a task, if it is running.
pub(crate) async fn stop_pipeline(
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
) -> Result<Done<StopPipelineResponse>, Stop> {
    let stopped = runs::stop(conn, task_id, call.saga_id).await?;
    to_failing(conn, call, task_id).await?;
    Ok(Done::Reply(StopPipelineResponse { stopped }))
}
