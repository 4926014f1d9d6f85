//! Compensation of CREATE_TASK: the task is `failing`. It becomes `failed` or `cancelled` when its quota is back.

use barrier::{Done, Stop};
use ids::TaskId;
use proto::task::v1::MarkTaskFailingResponse;
use rpc::step::StepCall;
use sqlx::PgConnection;

use crate::domain::{Change, TaskState};
use crate::store::tasks::{self, With};

/// Marks the task of a saga, if there is one.
pub(crate) async fn mark_task_failing(
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
) -> Result<Done<MarkTaskFailingResponse>, Stop> {
    to_failing(conn, call, task_id).await?;
    Ok(Done::Reply(MarkTaskFailingResponse {}))
}

/// Moves the task of a saga to `failing`; one that never was, or is there already, is left alone.
pub(super) async fn to_failing(
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
) -> Result<(), Stop> {
    let Some(task) = tasks::lock(conn, task_id, call.saga_id).await? else {
        return Ok(());
    };
    match task.state.change_to(TaskState::Failing) {
        Change::Make => {
            tasks::change(conn, &task, TaskState::Failing, With::default()).await?;
            Ok(())
        }
        Change::Made => Ok(()),
        Change::Impossible => Err(Stop::fail(format!(
            "task {task_id} is {} while its saga unwinds",
            task.state.name()
        ))),
    }
}
