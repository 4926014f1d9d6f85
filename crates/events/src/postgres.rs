//! The Postgres queue: the same promises as RabbitMQ's quorum queues, for a few thousand messages a second.
//!
//! A message that a consumer has is invisible until it is done; the consumer renews that while it lives. A queue is
//! bounded by the disk only, as RabbitMQ's are.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{PgExecutor, PgPool, Row as _};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::consumer::{DELIVERY_LIMIT, Delivery, Receipt};
use crate::dead::{self, Corpse};
use crate::pace::Pace;
use crate::relay::{Outgoing, Verdict, can_be_sent};
use crate::{Config, Error, Pattern};

/// Shortest pause between two looks at a queue that was empty.
const SHORTEST_POLL: Duration = Duration::from_millis(20);

/// The queue, as publishers and consumers of this process share it.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
    visibility: Duration,
    longest_poll: Duration,
    /// Counts publishings of this process: consumers of the same process look at once.
    arrived: watch::Sender<u64>,
}

impl Postgres {
    pub(crate) fn new(pool: PgPool, config: &Config) -> Self {
        Self {
            pool,
            visibility: config.visibility,
            longest_poll: config.longest_poll,
            arrived: watch::Sender::new(0),
        }
    }

    /// Puts each message into every queue that wants it, all in one transaction.
    pub(crate) async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Verdict>, Error> {
        let sent: Vec<&Outgoing> = messages.iter().filter(|message| can_be_sent(message)).collect();
        let topics: Vec<&str> = sent.iter().map(|message| message.topic.as_str()).collect();
        let bodies: Vec<&[u8]> = sent.iter().map(|message| message.body.as_slice()).collect();
        let ids: Vec<Uuid> = sent.iter().map(|message| message.id).collect();
        let routed: Vec<Uuid> = sqlx::query_scalar(
            "with input as (
                select * from unnest($1::text[], $2::bytea[], $3::uuid[]) with ordinality i (topic, body, id, place)
             ), wanted as (
                select distinct i.place, b.queue
                from input i join events.binding b on (i.topic || '.') ~ b.expression
             ), sent as (
                insert into events.message (queue, topic, body)
                select w.queue, i.topic, i.body from wanted w join input i on i.place = w.place order by i.place
             )
             select distinct i.id from wanted w join input i on i.place = w.place",
        )
        .bind(topics)
        .bind(bodies)
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        if !routed.is_empty() {
            self.arrived.send_modify(|count| *count = count.wrapping_add(1));
        }
        let routed: HashSet<Uuid> = routed.into_iter().collect();
        let verdict = |message: &Outgoing| {
            if !can_be_sent(message) {
                Verdict::Refused
            } else if message.mandatory && !routed.contains(&message.id) {
                Verdict::Unroutable
            } else {
                Verdict::Confirmed
            }
        };
        Ok(messages.iter().map(verdict).collect())
    }

    /// Makes the queue and lets it take `wanted` as well.
    pub(crate) async fn declare(&self, queue: &str, wanted: &BTreeSet<Pattern>) -> Result<(), Error> {
        sqlx::query(
            "insert into events.queue (name) values ($1) on conflict on constraint queue_pkey do nothing",
        )
        .bind(queue)
        .execute(&self.pool)
        .await?;
        let patterns: Vec<&str> = wanted.iter().map(Pattern::as_str).collect();
        let expressions: Vec<String> = wanted.iter().map(Pattern::regex).collect();
        sqlx::query(
            "insert into events.binding (queue, pattern, expression)
             select $1, * from unnest($2::text[], $3::text[])
             on conflict on constraint binding_pkey do nothing",
        )
        .bind(queue)
        .bind(patterns)
        .bind(expressions)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn unbind(&self, queue: &str, unwanted: &[&str]) -> Result<(), Error> {
        sqlx::query("delete from events.binding where queue = $1 and pattern = any ($2)")
            .bind(queue)
            .bind(unwanted)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Makes a subscription to a queue that was declared.
    pub(crate) fn subscribe(&self, queue: &'static str) -> Source {
        let arrived = self.arrived.subscribe();
        Source {
            queue,
            pace: Pace::new(SHORTEST_POLL, self.longest_poll),
            next_look: Instant::now(),
            arrived,
            held: Arc::new(Held {
                postgres: self.clone(),
                queue,
                holder: Uuid::new_v4(),
                ids: Mutex::default(),
            }),
        }
    }

    /// Puts a message into one queue; false if there is no such queue.
    pub(crate) async fn send_to(
        db: impl PgExecutor<'_>,
        queue: &str,
        topic: &str,
        body: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "insert into events.message (queue, topic, body) select name, $2, $3 from events.queue where name = $1",
        )
        .bind(queue)
        .bind(topic)
        .bind(body)
        .execute(db)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// A subscription of one consumer.
#[derive(Debug)]
pub(crate) struct Source {
    queue: &'static str,
    pace: Pace,
    /// An instant, so that a wait that is given up again and again still comes to its end.
    next_look: Instant,
    arrived: watch::Receiver<u64>,
    held: Arc<Held>,
}

impl Source {
    /// Waits until it is worth looking. Nothing is lost if the wait is given up.
    pub(crate) async fn ready(&mut self) {
        // Published by this process, or it is time; the sender lives as long as the broker.
        if let Ok(Ok(())) = tokio::time::timeout_at(self.next_look, self.arrived.changed()).await {
            self.pace.reset();
        }
    }

    /// Takes up to `room` messages, oldest first. Messages that have ended their consumer too often die here.
    pub(crate) async fn take(&mut self, room: usize) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "with picked as (
                select id from events.message
                where queue = $1 and visible_at <= statement_timestamp()
                order by queue, id limit $2
                for update skip locked
             )
             update events.message m
             set deliveries = m.deliveries + 1, holder = $3, visible_at = clock_timestamp() + $4::interval
             from picked p where m.id = p.id
             returning m.id, m.body, m.deliveries",
        )
        // A plan that was made for an empty queue would be kept, and sort the whole of a long one each time.
        .persistent(false)
        .bind(self.queue)
        .bind(i64::try_from(room).unwrap_or(i64::MAX))
        .bind(self.held.holder)
        .bind(self.held.postgres.visibility)
        .fetch_all(&self.held.postgres.pool)
        .await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: i64 = row.try_get("id")?;
            let deliveries = u32::try_from(row.try_get::<i32, _>("deliveries")?).unwrap_or(0);
            taken.push((id, row.try_get::<Vec<u8>, _>("body")?, deliveries));
        }
        taken.sort_unstable_by_key(|(id, _, _)| *id);
        self.held.lock().extend(taken.iter().map(|(id, _, _)| *id));
        if taken.len() == room {
            // There may be more: look again as soon as there is room.
            self.arrived.mark_changed();
        }
        if !taken.is_empty() {
            self.pace.reset();
        }
        self.next_look = Instant::now() + self.pace.pause();
        let mut deliveries = Vec::with_capacity(taken.len());
        for (id, body, count) in taken {
            let receipt = Message {
                id,
                held: Arc::clone(&self.held),
            };
            if count > DELIVERY_LIMIT {
                let reason =
                    format!("the broker gave up: its consumer ended {DELIVERY_LIMIT} times while it had it");
                receipt.dead(&Corpse::of(self.queue, body, reason, count)).await?;
            } else {
                deliveries.push(Delivery {
                    body,
                    deliveries: count,
                    receipt: Receipt::Postgres(receipt),
                });
            }
        }
        Ok(deliveries)
    }

    /// Lets the queue take `wanted`, and nothing of `before` that is not wanted any more.
    pub(crate) async fn bind(
        &self,
        before: &BTreeSet<Pattern>,
        wanted: &BTreeSet<Pattern>,
    ) -> Result<(), Error> {
        let postgres = &self.held.postgres;
        postgres.declare(self.queue, wanted).await?;
        let unwanted: Vec<&str> = before.difference(wanted).map(Pattern::as_str).collect();
        postgres.unbind(self.queue, &unwanted).await
    }

    /// Renews the hold on every message that is not done. Call it three times in `visibility`.
    pub(crate) async fn tend(&self) -> Result<(), Error> {
        let ids: Vec<i64> = self.held.lock().iter().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update events.message set visible_at = clock_timestamp() + $3::interval
             where id = any ($1) and holder = $2",
        )
        .bind(ids)
        .bind(self.held.holder)
        .bind(self.held.postgres.visibility)
        .execute(&self.held.postgres.pool)
        .await?;
        Ok(())
    }
}

/// What a subscription holds.
#[derive(Debug)]
struct Held {
    postgres: Postgres,
    queue: &'static str,
    holder: Uuid,
    ids: Mutex<HashSet<i64>>,
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that this process holds. If the hold has passed to another process, nothing here changes anything.
#[derive(Debug)]
pub(crate) struct Message {
    id: i64,
    held: Arc<Held>,
}

impl Message {
    pub(crate) async fn done(&self) -> Result<(), Error> {
        sqlx::query("delete from events.message where id = $1 and holder = $2")
            .bind(self.id)
            .bind(self.held.holder)
            .execute(&self.held.postgres.pool)
            .await?;
        Ok(())
    }

    /// Moves the message to the dead letters.
    pub(crate) async fn dead(&self, corpse: &Corpse) -> Result<(), Error> {
        let mut tx = self.held.postgres.pool.begin().await?;
        let gone = sqlx::query("delete from events.message where id = $1 and holder = $2")
            .bind(self.id)
            .bind(self.held.holder)
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() == 1 {
            dead::bury(&mut *tx, corpse).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Gives the message back to its queue.
    pub(crate) async fn release(&self) -> Result<(), Error> {
        sqlx::query("update events.message set visible_at = clock_timestamp(), holder = null where id = $1 and holder = $2")
            .bind(self.id)
            .bind(self.held.holder)
            .execute(&self.held.postgres.pool)
            .await?;
        let postgres = &self.held.postgres;
        tracing::trace!(queue = self.held.queue, id = self.id, "given back");
        postgres
            .arrived
            .send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }
}

impl Drop for Message {
    /// Whatever became of the message, it is not renewed any more.
    fn drop(&mut self) {
        self.held.lock().remove(&self.id);
    }
}
