//! CancelTask: asks the task's saga to unwind, and waits, bounded, for its end.

use std::time::Duration;

use ids::{SagaId, TaskId, UserId};
use proto::saga::v1::{CancelSagaRequest, WaitSagaRequest, WaitUntil, wait_until};
use rpc::error::{Reason, info};
use tonic::Status;

use super::get_task::get_task;
use super::{App, Error, on_behalf_of};
use crate::domain::TaskState;
use crate::store::tasks::Task;

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 500;
/// What a call may take beyond a wait.
const CALL_SLACK: Duration = Duration::from_secs(5);

/// Cancels a task. Answers it as it stands when the wait is over: `cancelled`, or `failing` on its way there.
///
/// A task that has failed or is cancelled already is answered as it is.
pub(crate) async fn cancel_task(
    app: &App,
    id: TaskId,
    visible_to: Option<UserId>,
    reason: &str,
) -> Result<Task, Error> {
    if reason.chars().count() > MAX_REASON_CHARS {
        return Err(Error::Argument {
            field: "reason",
            problem: format!("must be at most {MAX_REASON_CHARS} characters"),
        });
    }
    let task = get_task(app, id, visible_to).await?;
    match task.state {
        TaskState::Failed | TaskState::Cancelled => return Ok(task),
        TaskState::Completed => {
            return Err(Error::NotCancellable {
                id,
                state: task.state,
            });
        }
        TaskState::Pending | TaskState::Processing | TaskState::Failing => {}
    }
    let request = CancelSagaRequest {
        saga_id: task.saga_id.to_string(),
        reason: reason.to_owned(),
    };
    let request = on_behalf_of(task.user_id, request, CALL_SLACK);
    match app.sagas.clone().cancel_saga(request).await {
        Ok(_) => wait_for_end(app, task.saga_id, &task).await,
        Err(status) if is_too_late(&status) => return settled(app, id).await,
        Err(status) => return Err(Error::CancelUnknown(status)),
    }
    get_task(app, id, None).await
}

fn is_too_late(status: &Status) -> bool {
    let too_late = [Reason::SagaPastCommitPoint.name(), Reason::SagaEnded.name()];
    info(status).is_some_and(|info| too_late.contains(&info.reason.as_str()))
}

/// Answers a task whose saga cannot be cancelled any more: fine if it came to the same, else a refusal.
async fn settled(app: &App, id: TaskId) -> Result<Task, Error> {
    let task = get_task(app, id, None).await?;
    match task.state {
        TaskState::Failing | TaskState::Failed | TaskState::Cancelled => Ok(task),
        TaskState::Pending | TaskState::Processing | TaskState::Completed => Err(Error::NotCancellable {
            id,
            state: task.state,
        }),
    }
}

/// Waits for the end of the saga. The cancel is durable by now: a wait that fails is not a failure of the cancel.
async fn wait_for_end(app: &App, saga_id: SagaId, task: &Task) {
    let wait = app.config.cancel_wait;
    let request = WaitSagaRequest {
        saga_id: saga_id.to_string(),
        wait: Some(WaitUntil {
            until: Some(wait_until::Until::End(true)),
            timeout: prost_types::Duration::try_from(wait).ok(),
        }),
    };
    let request = on_behalf_of(task.user_id, request, wait + CALL_SLACK);
    if let Err(status) = app.sagas.clone().wait_saga(request).await {
        tracing::info!(task_id = %task.id, saga_id = %saga_id, error = %status, "cannot wait for a cancelled saga");
    }
}
