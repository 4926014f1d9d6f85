//! Users who watch their feed.

mod limits;
mod notifications;
mod order;
mod outages;
mod resume;
mod retention;

use ids::{TaskId, UserId};
use proto::task::v1 as pb;
use proto::task::v1::watch_response::Event;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::world::{DEADLINE, Process, Run, World, simple};

/// A world without any process.
pub(crate) async fn world() -> World {
    World::without_worker(simple(), |_| {}).await
}

/// A stream that is open.
pub(crate) struct Reader(Streaming<pb::WatchResponse>);

impl Reader {
    pub(crate) async fn open(process: &Process, user: UserId, last_seq: Option<u64>) -> Result<Self, Status> {
        let request = pb::WatchRequest {
            user_id: user.to_string(),
            last_seq,
        };
        let answer = process.watch.clone().watch(request).await?;
        Ok(Self(answer.into_inner()))
    }

    /// Waits for the next message; `Err` is how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<pb::WatchResponse, Status> {
        let next = timeout(DEADLINE, self.0.message()).await;
        let next = next.unwrap_or_else(|_| panic!("the stream says nothing"))?;
        Ok(next.unwrap_or_else(|| panic!("the stream ended without a reason")))
    }

    /// Waits for the next event of a task or notification.
    pub(crate) async fn event(&mut self) -> Result<(u64, Event), Status> {
        loop {
            let next = self.next().await?;
            match next.event.unwrap() {
                Event::Heartbeat(_) => {}
                event @ (Event::Task(_) | Event::Notification(_) | Event::Snapshot(_)) => {
                    return Ok((next.seq, event));
                }
            }
        }
    }

    /// Reads events until this number, and returns their numbers.
    pub(crate) async fn seqs_until(&mut self, last: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.last() != Some(&last) {
            seqs.push(self.event().await.unwrap().0);
        }
        seqs
    }
}

/// Creates a task and returns its run.
pub(crate) async fn task_of(process: &Process, user: UserId) -> Run {
    let mut run = Run::new(process.steps.clone());
    run.user_id = user;
    run.create("simple", json!({ "text": "x" })).await.unwrap();
    run
}

/// Adds an event about a task, as the service does.
pub(crate) async fn append(conn: &mut PgConnection, user: UserId, task_id: TaskId) -> u64 {
    let seq: i64 = sqlx::query_scalar(
        "with head as (
            insert into feed_head (user_id, last_seq) values ($1, 1)
            on conflict (user_id) do update set last_seq = feed_head.last_seq + 1
            returning last_seq
         )
         insert into feed (user_id, seq, task_id) select $1, last_seq, $2 from head returning seq",
    )
    .bind(user.uuid())
    .bind(task_id.uuid())
    .fetch_one(conn)
    .await
    .unwrap();
    u64::try_from(seq).unwrap()
}

/// Adds many events about a task, each in a transaction of its own.
pub(crate) async fn append_many(pool: &PgPool, user: UserId, task_id: TaskId, count: usize) -> u64 {
    let mut conn = pool.acquire().await.unwrap();
    let mut last = 0;
    for _ in 0..count {
        last = append(&mut conn, user, task_id).await;
    }
    last
}

/// Numbers that are in the table, in order.
pub(crate) async fn kept(pool: &PgPool, user: Uuid) -> Vec<i64> {
    sqlx::query_scalar("select seq from feed where user_id = $1 order by seq")
        .bind(user)
        .fetch_all(pool)
        .await
        .unwrap()
}
