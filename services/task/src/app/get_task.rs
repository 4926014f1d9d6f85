//! GetTask.

use ids::TaskId;

use super::{App, Error};
use crate::store::tasks::{self, Task};

/// Reads a task id from a request.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Error> {
    text.parse().map_err(|source| Error::Id {
        field: "task_id",
        source,
    })
}

/// Finds a task.
pub(crate) async fn get_task(app: &App, id: TaskId) -> Result<Task, Error> {
    tasks::find(&app.pool, id).await?.ok_or(Error::NoTask(id))
}
