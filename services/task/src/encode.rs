//! What the service has, as it goes over the wire.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::task::v1 as pb;

use crate::config::Config;
use crate::json;
use crate::store::notifications::Notification;
use crate::store::tasks::Task;

/// Encodes a task.
pub(crate) fn task(config: &Config, task: Task) -> pb::Task {
    // Before the pipeline has begun, its length is that of the feature as configured now.
    let configured = || {
        let feature = config.features.get(&task.feature_id);
        feature.map_or(0, |f| f.pipeline.steps.len())
    };
    let steps_total = match task.steps_total {
        Some(total) => u32::try_from(total).unwrap_or(0),
        None => u32::try_from(configured()).unwrap_or(u32::MAX),
    };
    pb::Task {
        task_id: task.id.to_string(),
        user_id: task.user_id.to_string(),
        feature_id: task.feature_id,
        input_data: Some(json::to_struct(&task.input_data)),
        result: task.result.as_ref().map(json::to_struct),
        state: task.state.wire().into(),
        error_reason: task.error_reason.unwrap_or_default(),
        error_message: task.error_message.unwrap_or_default(),
        saga_id: task.saga_id.to_string(),
        amount: task.amount,
        steps_done: u32::try_from(task.steps_done).unwrap_or(0),
        steps_total,
        created_at: Some(timestamp(task.created_at)),
        updated_at: Some(timestamp(task.updated_at)),
        finished_at: task.finished_at.map(timestamp),
    }
}

/// Encodes a notification.
pub(crate) fn notification(notification: Notification) -> pb::Notification {
    pb::Notification {
        notification_id: notification.id.to_string(),
        r#type: notification.kind,
        title: notification.title,
        message: notification.message,
        priority: notification.priority,
        created_at: Some(timestamp(notification.created_at)),
        read_at: notification.read_at.map(timestamp),
    }
}

/// Encodes a moment.
pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
    }
}
