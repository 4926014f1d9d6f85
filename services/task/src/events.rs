//! Facts about tasks, written to the outbox in the transaction that makes them true.
//!
//! Key is the task id. Data: `taskId`, `userId`, `featureId`, `sagaId`, `status`, `timestamp` (RFC 3339), and what the
//! topic adds.

use ids::MessageId;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::TaskState;
use crate::store::tasks::Locked;

/// Topics that the service publishes whether or not anybody wants them.
pub const FACTS: &[&str] = &[
    "task.created",
    "task.started",
    "task.progressed",
    "task.completed",
    "task.failed",
    "task.cancelled",
];

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Fact<'a> {
    /// `task.created`
    Created,
    /// `task.started`
    Started,
    /// `task.progressed`, with `step`, `stepsDone` and `stepsTotal`.
    Progressed { step: &'a str, done: i32, total: usize },
    /// `task.completed`
    Completed,
    /// `task.failed`, with `errorReason` and `errorMessage`.
    Failed { reason: &'a str, message: &'a str },
    /// `task.cancelled`
    Cancelled,
}

impl Fact<'_> {
    const fn topic(&self) -> &'static str {
        match self {
            Self::Created => "task.created",
            Self::Started => "task.started",
            Self::Progressed { .. } => "task.progressed",
            Self::Completed => "task.completed",
            Self::Failed { .. } => "task.failed",
            Self::Cancelled => "task.cancelled",
        }
    }

    const fn state(&self) -> TaskState {
        match self {
            Self::Created => TaskState::Pending,
            Self::Started | Self::Progressed { .. } => TaskState::Processing,
            Self::Completed => TaskState::Completed,
            Self::Failed { .. } => TaskState::Failed,
            Self::Cancelled => TaskState::Cancelled,
        }
    }

    fn data(&self, task: &Locked) -> Value {
        let mut data = json!({
            "taskId": task.id.to_string(),
            "userId": task.user_id.to_string(),
            "featureId": task.feature_id,
            "sagaId": task.saga_id.to_string(),
            "status": self.state().name(),
        });
        match self {
            Self::Progressed { step, done, total } => {
                data["step"] = json!(step);
                data["stepsDone"] = json!(done);
                data["stepsTotal"] = json!(total);
            }
            Self::Failed { reason, message } => {
                data["errorReason"] = json!(reason);
                data["errorMessage"] = json!(message);
            }
            Self::Created | Self::Started | Self::Completed | Self::Cancelled => {}
        }
        data
    }
}

/// Writes a fact about a task. The timestamp is that of the transaction.
pub(crate) async fn write(conn: &mut PgConnection, task: &Locked, fact: Fact<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into outbox (id, topic, key, data, traceparent)
         values ($1, $2, $3,
                 $4 || jsonb_build_object('timestamp',
                    to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')),
                 $5)",
    )
    .bind(MessageId::new().uuid())
    .bind(fact.topic())
    .bind(task.id.to_string())
    .bind(Json(fact.data(task)))
    .bind(telemetry::trace::current_traceparent())
    .execute(conn)
    .await?;
    Ok(())
}
