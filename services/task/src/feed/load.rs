//! Events as they are sent: what their rows name, as it is now.

use std::collections::HashMap;
use std::sync::Arc;

use ids::UserId;
use prost::Message;
use proto::task::v1::watch_response::Event;
use proto::task::v1::{self as pb, WatchHeartbeat, WatchResponse, WatchSnapshot};
use uuid::Uuid;

use super::Feeds;
use crate::encode;
use crate::store::feed::{self, Row, Subject};
use crate::store::{notifications, tasks};

/// Tasks of a snapshot that have not ended: the newest ones.
const UNFINISHED: i64 = 500;
/// Tasks of a snapshot that have: those that ended last.
const FINISHED: i64 = 50;
/// Unread notifications of a snapshot: the newest ones.
const UNREAD: i64 = 100;
/// Tasks of a snapshot, in bytes of their encoding, of which more leave out input and result: whole messages stay below the
/// 4 MiB that clients take by default.
const SNAPSHOT_BYTES: usize = 1024 * 1024;

impl Feeds {
    /// Makes the events of rows, in their order. Each task is read once.
    pub(super) async fn load(&self, rows: &[Row]) -> Result<Vec<Arc<WatchResponse>>, sqlx::Error> {
        let mut task_ids: Vec<Uuid> = Vec::new();
        let mut notification_ids: Vec<Uuid> = Vec::new();
        for row in rows {
            match row.subject {
                Subject::Task(id) => task_ids.push(id),
                Subject::Notification(id) => notification_ids.push(id),
            }
        }
        let mut found: HashMap<Uuid, Event> = HashMap::new();
        if !task_ids.is_empty() {
            task_ids.sort_unstable();
            task_ids.dedup();
            for task in tasks::find_all(&self.pool, &task_ids).await? {
                let id = task.id.uuid();
                found.insert(id, Event::Task(encode::task(&self.config, task)));
            }
        }
        if !notification_ids.is_empty() {
            notification_ids.sort_unstable();
            notification_ids.dedup();
            for notification in notifications::find_all(&self.pool, &notification_ids).await? {
                let id = notification.id.uuid();
                found.insert(id, Event::Notification(encode::notification(notification)));
            }
        }
        let event = |row: &Row| {
            let (Subject::Task(id) | Subject::Notification(id)) = row.subject;
            // What is gone has nothing to show, but its number must not be missing.
            let event = found.get(&id).cloned().unwrap_or_else(heartbeat);
            Arc::new(WatchResponse {
                seq: row.seq,
                event: Some(event),
            })
        };
        Ok(rows.iter().map(event).collect())
    }

    /// Reads everything of a user at one moment.
    pub(super) async fn snapshot(&self, user_id: UserId) -> Result<WatchResponse, sqlx::Error> {
        let mut tx = self
            .pool
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        let seq = feed::head(&mut *tx, user_id).await?;
        let tasks = tasks::current(&mut *tx, user_id, UNFINISHED, FINISHED).await?;
        let unread = notifications::list(&mut *tx, user_id, true, None, UNREAD).await?;
        tx.commit().await?;
        let tasks = tasks.into_iter().map(|task| encode::task(&self.config, task));
        let snapshot = WatchSnapshot {
            tasks: within(tasks, SNAPSHOT_BYTES),
            notifications: unread.into_iter().map(encode::notification).collect(),
        };
        Ok(WatchResponse {
            seq,
            event: Some(Event::Snapshot(snapshot)),
        })
    }
}

/// Takes input and result from the tasks that do not fit into `budget` bytes.
fn within(tasks: impl Iterator<Item = pb::Task>, budget: usize) -> Vec<pb::Task> {
    let mut room = budget;
    tasks
        .map(|mut task| {
            let bytes = task.encoded_len();
            if bytes > room {
                task.input_data = None;
                task.result = None;
            }
            room = room.saturating_sub(task.encoded_len());
            task
        })
        .collect()
}

/// Makes a sign of life.
pub(super) fn heartbeat() -> Event {
    Event::Heartbeat(WatchHeartbeat {
        at: Some(encode::timestamp(chrono::Utc::now())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(input: &str) -> pb::Task {
        pb::Task {
            task_id: "task_1".to_owned(),
            input_data: Some(crate::json::to_struct(&json!({ "text": input }))),
            ..pb::Task::default()
        }
    }

    #[test]
    fn a_snapshot_that_would_be_too_large_leaves_out_inputs() {
        let large = "x".repeat(600);
        let tasks = [task(&large), task(&large), task("small")];
        let shown: Vec<bool> = within(tasks.into_iter(), 1_000)
            .iter()
            .map(|task| task.input_data.is_some())
            .collect();
        assert_eq!(shown, [true, false, true]);
    }
}
