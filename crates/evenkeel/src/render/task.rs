//! Tasks and features.

use chrono::{DateTime, Utc};
use proto::task::v1::{Feature, Task, TaskState};

use crate::output::{Cell, Table, Tone};
use crate::render::time;

/// Name of a state as it stands in the table `tasks`.
pub(crate) const fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Unspecified => "unknown",
        TaskState::Pending => "pending",
        TaskState::Processing => "processing",
        TaskState::Completed => "completed",
        TaskState::Failing => "failing",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}

const fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Completed => Tone::Good,
        TaskState::Failing | TaskState::Cancelled => Tone::Warn,
        TaskState::Failed | TaskState::Unspecified => Tone::Bad,
        TaskState::Pending | TaskState::Processing => Tone::Plain,
    }
}

/// Tasks, one line each.
pub(crate) fn list(tasks: &[Task], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "TASK", "FEATURE", "STATE", "STEPS", "QUOTA", "CREATED", "SAGA", "NOTE",
    ]);
    for task in tasks {
        table.row(vec![
            task.task_id.as_str().into(),
            task.feature_id.as_str().into(),
            Cell::new(state_name(task.state()), tone(task.state())),
            format!("{}/{}", task.steps_done, task.steps_total).into(),
            task.amount.to_string().into(),
            time::ago(task.created_at.as_ref(), now).into(),
            task.saga_id.as_str().into(),
            Cell::new(note(task), Tone::Dim),
        ]);
    }
    table
}

fn note(task: &Task) -> String {
    match (task.error_reason.as_str(), task.error_message.as_str()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// What tasks can run.
pub(crate) fn features(features: &[Feature]) -> Table {
    let mut table = Table::new(&["FEATURE", "QUOTA", "TITLE", "STEPS"]);
    for feature in features {
        table.row(vec![
            feature.feature_id.as_str().into(),
            feature.amount.to_string().into(),
            feature.title.as_str().into(),
            feature.steps.join(" > ").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_says_why() {
        let mut task = Task {
            task_id: "task_1".to_owned(),
            feature_id: "summarize".to_owned(),
            saga_id: "saga_1".to_owned(),
            amount: 2,
            steps_done: 1,
            steps_total: 3,
            error_reason: "PIPELINE_FAILED".to_owned(),
            error_message: "the provider answered 500".to_owned(),
            ..Task::default()
        };
        task.set_state(TaskState::Failed);
        insta::assert_snapshot!(list(&[task], DateTime::UNIX_EPOCH).render(false), @r"
        TASK    FEATURE    STATE   STEPS  QUOTA  CREATED  SAGA    NOTE
        task_1  summarize  failed  1/3    2               saga_1  PIPELINE_FAILED: the provider answered 500
        ");
    }
}
