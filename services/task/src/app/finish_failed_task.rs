//! The last call of an unwound saga: the quota is back, so the task may be seen `failed` or `cancelled`.

use barrier::{Done, Stop};
use ids::TaskId;
use proto::task::v1::{FinishFailedTaskRequest, FinishFailedTaskResponse};
use rpc::step::StepCall;
use sqlx::PgConnection;

use crate::domain::{self, Change, TaskState};
use crate::events::{self, Fact};
use crate::store::tasks::{self, With};

/// Reason of a task that failed although its saga gave none.
const NO_CAUSE: &str = "UNKNOWN";

/// Ends the task of a saga, if there is one: without quota none was created.
pub(crate) async fn finish_failed_task(
    conn: &mut PgConnection,
    call: &StepCall,
    task_id: TaskId,
    request: &FinishFailedTaskRequest,
) -> Result<Done<FinishFailedTaskResponse>, Stop> {
    let done = Done::Reply(FinishFailedTaskResponse {});
    let Some(task) = tasks::lock(conn, task_id, call.saga_id).await? else {
        return Ok(done);
    };
    let end = domain::end_of(&request.cause);
    match task.state.change_to(end) {
        Change::Make => {}
        Change::Made => return Ok(done),
        Change::Impossible => {
            let message = format!("task {task_id} is {} after its saga unwound", task.state.name());
            return Err(Stop::fail(message));
        }
    }
    let reason = if request.cause.is_empty() {
        NO_CAUSE
    } else {
        &request.cause
    };
    let message = message(request);
    let with = With {
        result: None,
        error: Some((reason, &message)),
        clear_error: end == TaskState::Cancelled,
    };
    let (reason, message) = tasks::change(conn, &task, end, with).await?;
    let fact = if end == TaskState::Cancelled {
        Fact::Cancelled
    } else {
        Fact::Failed {
            reason: reason.as_deref().unwrap_or_default(),
            message: message.as_deref().unwrap_or_default(),
        }
    };
    events::write(conn, &task, fact).await?;
    Ok(done)
}

/// Says what failed, from what the saga knows.
fn message(request: &FinishFailedTaskRequest) -> String {
    match (request.failed_step.as_str(), request.error.as_str()) {
        ("", error) => error.to_owned(),
        (step, "") => format!("step {step}"),
        (step, error) => format!("step {step}: {error}"),
    }
}
