//! The event `notification.send`: a message to a user, kept until it is read.
//!
//! Data: `userId`, `type`, `title`, `message`, `priority` (`low`, `normal`, `high`; absent: `normal`), `timestamp` (RFC 3339;
//! absent: when the event was sent).

use chrono::{DateTime, Utc};
use events::{HandlerError, Outcome, Received};
use ids::UserId;
use serde::Deserialize;
use sqlx::PgConnection;

use crate::feed::KEEP_NOTIFICATIONS;
use crate::store::feed;
use crate::store::notifications::{self, NewNotification, NotificationId};

/// Queue of the consumer.
pub(crate) const QUEUE: &str = "task.notifications";
/// What it takes.
pub(crate) const TOPIC: &str = "notification.send";

/// Longest texts, in characters; the table has the same bounds.
const MAX_TYPE_CHARS: usize = 64;
const MAX_TITLE_CHARS: usize = 200;
const MAX_MESSAGE_CHARS: usize = 2_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    user_id: String,
    r#type: String,
    title: String,
    message: String,
    #[serde(default)]
    priority: Priority,
    timestamp: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Keeps a notification and tells its user's feed, in the consumer's transaction.
pub(crate) async fn notify(conn: &mut PgConnection, received: &Received) -> Outcome {
    let new = read(received).map_err(HandlerError::Dead)?;
    feed::lock(conn, new.user_id).await?;
    if !notifications::insert(conn, &new).await? {
        return Ok(());
    }
    notifications::trim(conn, new.user_id, KEEP_NOTIFICATIONS).await?;
    feed::append_notifications(conn, new.user_id, &[new.id.uuid()]).await?;
    Ok(())
}

/// Reads an event; the error says what is wrong with it.
fn read(received: &Received) -> Result<NewNotification, String> {
    let data: Data =
        serde_json::from_value(received.data.clone()).map_err(|error| format!("data: {error}"))?;
    let user_id: UserId = data.user_id.parse().map_err(|error| format!("userId: {error}"))?;
    check("type", &data.r#type, 1, MAX_TYPE_CHARS)?;
    check("title", &data.title, 1, MAX_TITLE_CHARS)?;
    check("message", &data.message, 0, MAX_MESSAGE_CHARS)?;
    Ok(NewNotification {
        id: NotificationId::new(),
        user_id,
        kind: data.r#type,
        title: data.title,
        message: data.message,
        priority: data.priority.name(),
        sent_at: data.timestamp.or(received.time),
        source: received.source.clone(),
        event_id: received.id.clone(),
    })
}

fn check(field: &str, text: &str, least: usize, most: usize) -> Result<(), String> {
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !(least..=most).contains(&text.chars().count()) || text.contains(strange) {
        return Err(format!(
            "{field}: want {least} to {most} characters, none of them a control character"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn received(data: Value) -> Received {
        Received {
            id: "e1".to_owned(),
            source: "/evenkeel/shop".to_owned(),
            topic: TOPIC.to_owned(),
            key: None,
            time: DateTime::from_timestamp(1_790_000_000, 0),
            data,
            traceparent: None,
            attributes: BTreeMap::new(),
        }
    }

    fn good() -> Value {
        json!({
            "userId": UserId::new().to_string(), "type": "order", "title": "付款成功", "message": "a\nb",
            "priority": "high", "timestamp": "2026-11-21T08:00:00+08:00", "more": 1,
        })
    }

    #[test]
    fn a_notification_is_read() {
        let read = read(&received(good())).unwrap();
        assert_eq!((read.kind.as_str(), read.priority), ("order", "high"));
        assert_eq!(read.sent_at.unwrap().to_rfc3339(), "2026-11-21T00:00:00+00:00");
    }

    #[test]
    fn what_may_be_absent_has_a_default() {
        let mut data = good();
        data.as_object_mut().unwrap().remove("priority");
        data.as_object_mut().unwrap().remove("timestamp");
        let read = read(&received(data)).unwrap();
        assert_eq!(
            (read.priority, read.sent_at.unwrap().timestamp()),
            ("normal", 1_790_000_000)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, value) in [
            ("userId", json!("task_1")),
            ("type", json!("")),
            ("title", json!("x".repeat(201))),
            ("message", json!("nul\0")),
            ("message", json!("x".repeat(2_001))),
            ("priority", json!("urgent")),
            ("timestamp", json!("yesterday")),
        ] {
            let mut data = good();
            data[field] = value;
            let error = read(&received(data)).unwrap_err();
            assert!(
                error.starts_with(field) || error.starts_with("data: "),
                "{field}: {error}"
            );
        }
        for data in [Value::Null, json!([]), json!({ "userId": 1 })] {
            assert!(read(&received(data)).unwrap_err().starts_with("data: "));
        }
    }

    proptest! {
        #[test]
        fn what_is_read_fits_the_table(
            kind in ".{0,70}", title in ".{0,210}", message in "(?s).{0,50}", user in "(user_[0-9a-f]{32}|.{0,40})"
        ) {
            let data = json!({ "userId": user, "type": kind, "title": title, "message": message });
            if let Ok(read) = read(&received(data)) {
                prop_assert!((1..=64).contains(&read.kind.chars().count()));
                prop_assert!((1..=200).contains(&read.title.chars().count()));
                prop_assert!(!read.message.contains('\0'));
            }
        }
    }
}
