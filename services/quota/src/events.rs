//! The facts that other services learn from the outbox. Key is the user id. Data: `userId`, `available` (what the user has
//! left afterwards), `timestamp` (RFC 3339), and what the topic adds: `amount` with `taskId` or `grantId`;
//! `quota.granted` also `kind`, `expiresAt`, `sourceType`, `sourceId`; clawbacks `clawbackId`. `quota.expired` tells of a
//! reservation (`taskId`) or of a grant (`grantId`).

use chrono::{DateTime, SecondsFormat, Utc};
use events::Event;
use ids::{TaskId, UserId};
use serde_json::{Value, json};

use crate::domain::Grant;

/// Topics that the service publishes whether or not anybody wants them.
pub const FACTS: &[&str] = &[
    "quota.reserved",
    "quota.confirmed",
    "quota.released",
    "quota.expired",
    "quota.granted",
    "quota.clawed_back",
    "quota.restored",
    "quota.low",
];

/// A task has set quota aside, or finished with it.
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
    fact(topic, user_id, data)
}

/// A user has got quota.
pub(crate) fn granted(grant: &Grant, available: i64) -> Event {
    let mut data = json!({
        "userId": grant.user_id.to_string(),
        "grantId": grant.grant_id.as_str(),
        "amount": grant.amount.get(),
        "kind": grant.kind.name(),
        "available": available,
    });
    if let Some(expires_at) = grant.expires_at {
        data["expiresAt"] = json!(rfc3339(expires_at));
    }
    if let Some(line) = &grant.line {
        data["sourceType"] = json!(line.source.kind());
        data["sourceId"] = json!(line.source.id());
    }
    fact("quota.granted", grant.user_id, data)
}

/// Quota of a grant went elsewhere, or came back.
pub(crate) fn of_grant(
    topic: &'static str,
    user_id: UserId,
    grant_id: &str,
    clawback_id: Option<&str>,
    amount: i64,
    available: i64,
) -> Event {
    let mut data = json!({
        "userId": user_id.to_string(),
        "grantId": grant_id,
        "amount": amount,
        "available": available,
    });
    if let Some(clawback_id) = clawback_id {
        data["clawbackId"] = json!(clawback_id);
    }
    fact(topic, user_id, data)
}

/// A user has less left than the threshold, and had not before.
pub(crate) fn low(user_id: UserId, available: i64, threshold: i64) -> Event {
    let data = json!({
        "userId": user_id.to_string(),
        "available": available,
        "threshold": threshold,
    });
    fact("quota.low", user_id, data)
}

fn fact(topic: &'static str, user_id: UserId, mut data: Value) -> Event {
    data["timestamp"] = json!(rfc3339(Utc::now()));
    Event::new(topic, user_id.to_string(), data)
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
