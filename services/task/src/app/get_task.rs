//! GetTask.

use ids::{TaskId, UserId};

use super::{App, Error};
use crate::store::tasks::{self, Task};

/// Reads a task id from a request.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Error> {
    text.parse().map_err(|source| Error::Id {
        field: "task_id",
        source,
    })
}

/// Finds a task. For a user who is confined to its own, somebody else's does not exist: whether there is one is nobody's
/// business.
pub(crate) async fn get_task(app: &App, id: TaskId, visible_to: Option<UserId>) -> Result<Task, Error> {
    tasks::find(&app.pool, id)
        .await?
        .filter(|task| visible_to.is_none_or(|user_id| user_id == task.user_id))
        .ok_or(Error::NoTask(id))
}
