//! Step CREATE_TASK: the task exists, `pending`.

use barrier::{Done, Stop};
use proto::task::v1::CreateTaskRecordResponse;
use rpc::error::Reason;
use sqlx::PgConnection;

use crate::domain::TaskState;
use crate::events::{self, Fact};
use crate::store::tasks::{self, Locked, NewTask};

/// Inserts the task.
pub(crate) async fn create_task_record(
    conn: &mut PgConnection,
    task: NewTask,
) -> Result<Done<CreateTaskRecordResponse>, Stop> {
    if !tasks::insert(conn, &task).await? {
        return Err(Stop::refuse(
            Reason::TaskMismatch,
            format!("task {} belongs to another saga", task.id),
        ));
    }
    let created = Locked {
        id: task.id,
        user_id: task.user_id,
        feature_id: task.feature_id,
        saga_id: task.saga_id,
        state: TaskState::Pending,
    };
    events::write(conn, &created, Fact::Created).await?;
    Ok(Done::Reply(CreateTaskRecordResponse {}))
}
