//! Events of tasks, written as the task service writes them, and when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::exit::{Code, Failure};
use crate::wiring::database;

/// Connections that write. Each writes for users of its own, so that what it notes of a user is in the order of their feed.
const WRITERS: usize = 4;

const TASK: &str = "
    insert into task.tasks (id, user_id, feature_id, input_data, status, amount, saga_id)
    values ($1, $2, 'summarize', '{\"text\": \"A text of a length that people have summarized.\"}', 'processing', 1, $1)";

/// A change of a task and its event in one transaction: the statements of the task service in one.
const EVENT: &str = "
    with changed as (
        update task.tasks set updated_at = clock_timestamp() where id = $2
    ), head as (
        insert into task.feed_head (user_id, last_seq) values ($1, 1)
        on conflict on constraint feed_head_pkey do update set last_seq = task.feed_head.last_seq + 1
        returning last_seq
    )
    insert into task.feed (user_id, seq, task_id) select $1, last_seq, $2 from head returning seq";

/// Users with a task each, and the events written for them.
pub(super) struct Events {
    database: String,
    users: Vec<User>,
}

struct User {
    id: Uuid,
    task: Uuid,
    /// When the transaction of each event began: number 1 first.
    began: Mutex<Vec<Instant>>,
}

impl Events {
    /// Makes users with a task each, and nothing told yet.
    ///
    /// # Errors
    /// If the database does not answer.
    pub(super) async fn open(url: &str, users: usize) -> Result<Self, Failure> {
        let mut connection = database::connect(url).await?;
        let users: Vec<User> = (0..users)
            .map(|_| User {
                id: Uuid::now_v7(),
                task: Uuid::now_v7(),
                began: Mutex::default(),
            })
            .collect();
        for user in &users {
            sqlx::query(TASK)
                .bind(user.task)
                .bind(user.id)
                .execute(&mut connection)
                .await
                .map_err(failed)?;
        }
        // The server notices by itself if this goodbye is lost.
        let _ = connection.close().await;
        let database = url.to_owned();
        Ok(Self { database, users })
    }

    /// Id of a user.
    pub(super) fn user(&self, user: usize) -> Uuid {
        self.users[user].id
    }

    /// Number of a user's last event; 0 if there is none.
    fn last(&self, user: usize) -> u64 {
        let began = self.users[user]
            .began
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        u64::try_from(began.len()).unwrap_or(u64::MAX)
    }

    /// When the transaction of an event began; `None` if there is no such event.
    fn began(&self, user: usize, seq: u64) -> Option<Instant> {
        let place = usize::try_from(seq.checked_sub(1)?).ok()?;
        let began = self.users[user]
            .began
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        began.get(place).copied()
    }

    /// Events of all users.
    pub(super) fn written(&self) -> u64 {
        (0..self.users.len()).map(|user| self.last(user)).sum()
    }

    /// Writes so many events a second, for one user after another.
    ///
    /// # Errors
    /// If the database does not answer.
    pub(super) async fn write(self: &Arc<Self>, per_second: u32, time: Duration) -> Result<(), Failure> {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(Arc::clone(self).write_some(writer, per_second, time));
        }
        while let Some(done) = writers.join_next().await {
            done.map_err(|e| Failure::unavailable("a writer died").because(&e))??;
        }
        Ok(())
    }

    async fn write_some(
        self: Arc<Self>,
        writer: usize,
        per_second: u32,
        time: Duration,
    ) -> Result<(), Failure> {
        let own: Vec<usize> = (writer..self.users.len()).step_by(WRITERS).collect();
        let mut connection = database::connect(&self.database).await?;
        let writers = u32::try_from(WRITERS).unwrap_or(1);
        let mut pace = tokio::time::interval(Duration::from_secs(1) * writers / per_second);
        // A slow commit is made up for: the number of events is promised.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + time;
        for user in own.into_iter().cycle() {
            pace.tick().await;
            if Instant::now() >= end {
                break;
            }
            let user = &self.users[user];
            let place = {
                let mut began = user.began.lock().unwrap_or_else(PoisonError::into_inner);
                began.push(Instant::now());
                began.len()
            };
            let seq: i64 = sqlx::query_scalar(EVENT)
                .bind(user.id)
                .bind(user.task)
                .fetch_one(&mut connection)
                .await
                .map_err(failed)?;
            if usize::try_from(seq) != Ok(place) {
                return Err(Failure::new(
                    Code::Failed,
                    "somebody else writes to the feed of a user",
                ));
            }
        }
        let _ = connection.close().await;
        Ok(())
    }
}

fn failed(error: sqlx::Error) -> Failure {
    Failure::unavailable("an event cannot be written").because(&error)
}

/// What was told to one user.
pub(super) struct Told {
    events: Arc<Events>,
    user: usize,
}

impl Told {
    pub(super) const fn new(events: Arc<Events>, user: usize) -> Self {
        Self { events, user }
    }

    /// Number of the last event.
    pub(super) fn last(&self) -> u64 {
        self.events.last(self.user)
    }

    /// When the transaction of an event began.
    pub(super) fn began(&self, seq: u64) -> Option<Instant> {
        self.events.began(self.user, seq)
    }
}
