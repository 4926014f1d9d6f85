//! `TASK_RUN`: quota, tasks, pipelines.

use std::collections::BTreeMap;

use ids::{TaskId, UserId};
use serde_json::json;

use e2e::Platform;

use crate::generic::{Started, Subject};

pub(crate) struct TaskRun {
    user: UserId,
}

impl Subject for TaskRun {
    const SAGA: &'static str = "TASK_RUN";

    async fn prepare(platform: &mut Platform) -> Self {
        Self {
            user: platform.user(1_000_000).await,
        }
    }

    fn domains() -> BTreeMap<String, String> {
        [
            ("evenkeel.quota.v1".to_owned(), "quota.evenkeel".to_owned()),
            ("evenkeel.task.v1".to_owned(), "task.evenkeel".to_owned()),
        ]
        .into()
    }

    fn next(&self) -> Started {
        let task = TaskId::new().to_string();
        let input = json!({
            "taskId": task,
            "userId": self.user.to_string(),
            "featureId": "summarize",
            "inputData": { "text": "fine", "language": "zh" },
            "amount": 3,
            "deadline": "120s",
        });
        Started {
            business_id: task,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        platform.assert_conserved().await;
        let unsettled: i64 = sqlx::query_scalar(
            "select count(*) from task.tasks where status not in ('completed', 'failed', 'cancelled')",
        )
        .fetch_one(platform.sql())
        .await
        .expect("the database answers");
        assert_eq!(unsettled, 0, "tasks were left as they were");
        let mismatched: i64 = sqlx::query_scalar(
            "select count(*) from task.tasks t join quota.quota_transactions q on q.task_id = t.id \
             where (t.status = 'completed') <> (q.phase = 'confirmed')",
        )
        .fetch_one(platform.sql())
        .await
        .expect("the database answers");
        assert_eq!(mismatched, 0, "tasks and quota disagree");
    }
}
