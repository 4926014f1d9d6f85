//! The relay: from an outbox to the broker.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{Backend, Inner, Relay};
use crate::outbox::{Outbox, Row};
use crate::pace::{Pace, rest};
use crate::{Error, cloudevent, handler, metric, postgres, rabbit, topic};

/// Keys claimed at once.
const CLAIMED_KEYS: u16 = 256;
/// Rows of a key, rows of all keys, and bytes of data that are read at once. Rows of a key go out one after the other, so
/// a long line would hold up the rest.
const ROWS_OF_A_KEY: i64 = 50;
const ROWS: i64 = 1_000;
const BYTES: i64 = 8 * 1024 * 1024;
/// Shortest pause between two looks at an outbox that was empty.
const SHORTEST_POLL: Duration = Duration::from_millis(20);
/// A round costs the same six statements for one key as for many. Where one had at least so many and has left none, more are
/// on their way: they gather for this time. What comes alone is not kept waiting.
const BUSY_KEYS: usize = 8;
const GATHER: Duration = Duration::from_millis(20);
/// Pauses while the broker or the database is down.
const FIRST_TROUBLE: Duration = Duration::from_millis(100);
const LONGEST_TROUBLE: Duration = Duration::from_secs(5);
/// Pauses of a row that no queue takes.
const FIRST_POSTPONED: Duration = Duration::from_secs(1);
const LONGEST_POSTPONED: Duration = Duration::from_secs(60);
/// How often rows are counted and old ones deleted, and how many at a time.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
const SWEPT_ROWS: i64 = 1_000;

/// Makes a relay look at its outbox at once. Without it, it looks within `longest_poll`.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Tells that a transaction with an event has committed. Costs nothing if the relay is busy.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// A message on its way to the broker.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: Uuid,
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
    /// Somebody must take it.
    pub(crate) mandatory: bool,
}

/// What the broker says to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is durable in every queue that wants it.
    Confirmed,
    /// It is mandatory and no queue wants it.
    Unroutable,
    /// The broker cannot take it now.
    Refused,
    /// It may or may not have arrived.
    Unknown,
}

/// Where messages go.
pub(crate) enum Publisher {
    Rabbit(rabbit::Publisher),
    Postgres(postgres::Postgres),
}

impl Publisher {
    pub(crate) fn of(backend: &Backend) -> Self {
        match backend {
            Backend::Rabbit(rabbit) => Self::Rabbit(rabbit::Publisher::new(Arc::clone(rabbit))),
            Backend::Postgres(postgres) => Self::Postgres(postgres.clone()),
        }
    }

    /// Returns once messages can be published.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        match self {
            Self::Rabbit(rabbit) => rabbit.ready().await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Publishes messages and returns a verdict for each.
    async fn publish(&mut self, messages: &[Outgoing]) -> Result<Vec<Verdict>, Error> {
        match self {
            Self::Rabbit(rabbit) => Ok(rabbit.publish(messages).await),
            Self::Postgres(postgres) => postgres.publish(messages).await,
        }
    }
}

/// What one claim came to.
#[derive(Debug, Default)]
struct Round {
    published: Vec<Uuid>,
    postponed: Vec<(Uuid, Duration)>,
    /// One of those that were postponed, for the log.
    example: Option<(Uuid, String)>,
    unknown: usize,
}

pub(crate) struct Worker {
    broker: Arc<Inner>,
    relay: Relay,
    outbox: Outbox,
    source: String,
    wake: Wake,
}

impl Worker {
    pub(crate) fn new(broker: Arc<Inner>, relay: Relay, wake: Wake) -> Self {
        metric::init_relay(relay.service, relay.facts);
        Self {
            broker,
            outbox: Outbox::new(relay.schema),
            source: format!("/evenkeel/{}", relay.service),
            relay,
            wake,
        }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::join!(self.publish(&stop), self.keep_house(&stop));
    }

    async fn publish(&self, stop: &CancellationToken) {
        let mut publisher = Publisher::of(&self.broker.backend);
        let mut poll = Pace::new(SHORTEST_POLL, self.broker.config.longest_poll);
        let mut trouble = Pace::new(FIRST_TROUBLE, LONGEST_TROUBLE);
        let mut troubled = false;
        while !stop.is_cancelled() {
            match self.round(&mut publisher).await {
                Ok(rows) => {
                    if std::mem::take(&mut troubled) {
                        tracing::info!(service = self.relay.service, "the relay publishes again");
                    }
                    trouble.reset();
                    if rows > 0 {
                        poll.reset();
                        if more_will_gather(rows) {
                            rest(GATHER, stop).await;
                        }
                    } else {
                        // A wake that came since the look is remembered, so nothing waits for longer than a look.
                        let woken = tokio::time::timeout(poll.pause(), self.wake.0.notified());
                        if let Some(Ok(())) = stop.run_until_cancelled(woken).await {
                            poll.reset();
                        }
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        let error = handler::chain(&error);
                        tracing::warn!(
                            service = self.relay.service,
                            error,
                            "the relay cannot publish; it goes on trying"
                        );
                    }
                    rest(trouble.jittered(), stop).await;
                }
            }
        }
    }

    /// Claims rows, publishes them, and remembers what came of it. Returns how many rows were settled.
    async fn round(&self, publisher: &mut Publisher) -> Result<usize, Error> {
        // Nothing is claimed while the broker is away.
        publisher.ready().await?;
        let mut tx = Outbox::begin(&self.relay.pool).await?;
        let keys = self.outbox.heads(&mut tx, i64::from(CLAIMED_KEYS)).await?;
        if keys.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        let rows = self
            .outbox
            .rows(&mut tx, &keys, ROWS_OF_A_KEY, ROWS, BYTES)
            .await?;
        let round = self.send(publisher, rows).await?;
        // Lost here, or before the commit returns: the rows are published again, with the same ids.
        if !round.published.is_empty() {
            let keep = !self.broker.config.kept().is_zero();
            self.outbox.published(&mut tx, &round.published, keep).await?;
        }
        if !round.postponed.is_empty() {
            self.outbox.postpone(&mut tx, &round.postponed).await?;
        }
        tx.commit().await?;
        if round.unknown > 0 {
            return Err(Error::Ended);
        }
        Ok(round.published.len() + round.postponed.len())
    }

    /// Publishes rows. The next row of a key goes out after the one before has been confirmed.
    async fn send(&self, publisher: &mut Publisher, rows: Vec<Row>) -> Result<Round, Error> {
        let mut order = Vec::new();
        let mut lines: HashMap<String, VecDeque<Row>> = HashMap::new();
        for row in rows {
            let line = lines.entry(row.event.key.clone()).or_default();
            if line.is_empty() {
                order.push(row.event.key.clone());
            }
            line.push_back(row);
        }
        let mut round = Round::default();
        while !order.is_empty() {
            let batch: Vec<Row> = order
                .iter()
                .filter_map(|key| lines.get_mut(key)?.pop_front())
                .collect();
            let messages: Vec<Outgoing> = batch.iter().map(|row| self.outgoing(row)).collect();
            let verdicts = publisher.publish(&messages).await?;
            order.clear();
            for (row, verdict) in batch.into_iter().zip(verdicts) {
                let key = row.event.key.clone();
                if self.settle(&row, &verdict, &mut round)
                    && lines.get(&key).is_some_and(|line| !line.is_empty())
                {
                    order.push(key);
                }
            }
        }
        if let Some((event_id, topic)) = &round.example {
            tracing::error!(
                service = self.relay.service,
                events = round.postponed.len(),
                topic,
                %event_id,
                "no queue takes these events; they stay in the outbox and are tried again"
            );
        }
        Ok(round)
    }

    /// Says whether the next row of the key may follow.
    fn settle(&self, row: &Row, verdict: &Verdict, round: &mut Round) -> bool {
        let Relay { service, facts, .. } = self.relay;
        match verdict {
            Verdict::Confirmed => {
                metric::published(service, &row.event.topic, facts);
                round.published.push(row.event.id);
                true
            }
            Verdict::Unroutable | Verdict::Refused => {
                if *verdict == Verdict::Unroutable {
                    metric::unroutable(service, &row.event.topic, facts);
                }
                round.postponed.push((row.event.id, postponed(row.tries)));
                round
                    .example
                    .get_or_insert_with(|| (row.event.id, row.event.topic.clone()));
                false
            }
            Verdict::Unknown => {
                round.unknown += 1;
                false
            }
        }
    }

    fn outgoing(&self, row: &Row) -> Outgoing {
        Outgoing {
            id: row.event.id,
            topic: row.event.topic.clone(),
            body: cloudevent::encode(&row.event, &self.source, row.created_at),
            mandatory: !self.relay.facts.contains(&row.event.topic.as_str()),
        }
    }

    /// Counts what waits and deletes what has been published, also while the broker is down.
    async fn keep_house(&self, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(HOUSEKEEPING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.clean(stop).await {
                tracing::debug!(service = self.relay.service, %error, "the outbox was not looked at");
            }
        }
    }

    async fn clean(&self, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        let pool = &self.relay.pool;
        let (rows, oldest) = self.outbox.age(pool, metric::COUNTED_ROWS).await?;
        metric::waiting(self.relay.service, rows, oldest);
        // Also with nothing to keep: rows may be from before.
        let keep = self.broker.config.kept();
        while !stop.is_cancelled() {
            let swept = self.outbox.sweep(pool, keep, SWEPT_ROWS).await?;
            if swept < SWEPT_ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }
}

/// Tells whether the next round is worth waiting for, after one that settled so many rows.
fn more_will_gather(rows: usize) -> bool {
    (BUSY_KEYS..usize::from(CLAIMED_KEYS)).contains(&rows)
}

/// How long a row rests after `tries` earlier attempts.
fn postponed(tries: i32) -> Duration {
    let doublings = u32::try_from(tries).unwrap_or(0).min(6);
    (FIRST_POSTPONED * 2u32.pow(doublings)).min(LONGEST_POSTPONED)
}

/// A topic that no broker would take can only come from SQL written by hand.
pub(crate) fn can_be_sent(message: &Outgoing) -> bool {
    topic::check(&message.topic).is_ok() && message.body.len() <= crate::MAX_MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_gather_after_a_busy_round_that_left_none() {
        let waits = [1, 7, 8, 255, 256, 1_000].map(more_will_gather);
        assert_eq!(waits, [false, false, true, true, false, false]);
    }

    #[test]
    fn a_row_that_no_queue_takes_rests_longer_each_time() {
        let seconds: Vec<u64> = [0, 1, 2, 6, 100, -1]
            .map(|tries| postponed(tries).as_secs())
            .into();
        assert_eq!(seconds, [1, 2, 4, 60, 60, 1]);
    }
}
