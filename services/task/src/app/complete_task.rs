//! Step COMPLETE_TASK: the task has its result.

use barrier::{Done, Stop};
use ids::TaskId;
use proto::task::v1::CompleteTaskResponse;
use rpc::step::StepCall;
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::{Change, TaskState};
use crate::events::{self, Fact};
use crate::store::tasks::{self, With};

/// Completes the task of a saga. Its quota is consumed by now, so there is no "no": a task that cannot be completed is
/// a defect, and a person has to look.
pub(crate) async fn complete_task(
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
    result: &Value,
) -> Result<Done<CompleteTaskResponse>, Stop> {
    let task = tasks::lock(conn, task_id, call.saga_id)
        .await?
        .ok_or_else(|| Stop::fail(format!("this saga has no task {task_id} to complete")))?;
    match task.state.change_to(TaskState::Completed) {
        Change::Make => {
            let with = With {
                result: Some(result),
                ..With::default()
            };
            tasks::change(conn, &task, TaskState::Completed, with).await?;
            events::write(conn, &task, Fact::Completed).await?;
        }
        Change::Made => {}
        Change::Impossible => {
            let message = format!("task {task_id} is {} and cannot be completed", task.state.name());
            return Err(Stop::fail(message));
        }
    }
    Ok(Done::Reply(CompleteTaskResponse {}))
}
