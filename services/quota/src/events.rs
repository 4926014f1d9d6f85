//! The facts that other services learn from the outbox.

use ids::{MessageId, TaskId, UserId};
use serde_json::{Value, json};

use crate::domain::Grant;

/// A fact, to be written in the transaction that makes it true.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: MessageId,
    /// Routing key.
    pub(crate) topic: &'static str,
    /// Events of one key keep their order.
    pub(crate) key: String,
    /// Fields in lowerCamelCase.
    pub(crate) data: Value,
    pub(crate) traceparent: Option<String>,
}

impl Event {
    fn new(topic: &'static str, user_id: UserId, data: Value) -> Self {
        Self {
            id: MessageId::new(),
            topic,
            key: user_id.to_string(),
            data,
            traceparent: telemetry::trace::current_traceparent(),
        }
    }
}

/// A task has set quota aside, or finished with it. `available` is what the user has left afterwards.
pub(crate) fn of_task(
    topic: &'static str,
    user_id: UserId,
    task_id: TaskId,
    amount: i64,
    available: i64,
) -> Event {
    let data = json!({
        "userId": user_id.to_string(),
        "taskId": task_id.to_string(),
        "amount": amount,
        "available": available,
    });
    Event::new(topic, user_id, data)
}

/// A user has got quota.
pub(crate) fn granted(grant: &Grant, available: i64) -> Event {
    let data = json!({
        "userId": grant.user_id.to_string(),
        "grantId": grant.grant_id.as_str(),
        "amount": grant.amount.get(),
        "available": available,
    });
    Event::new("quota.granted", grant.user_id, data)
}
