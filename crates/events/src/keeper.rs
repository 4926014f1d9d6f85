//! The keeper of dead letters: writes down those of the broker, sends back those that a person wants back, counts them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicAckOptions;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{Backend, Inner};
use crate::dead::{self, Letter};
use crate::pace::{Pace, rest};
use crate::postgres::Postgres;
use crate::rabbit::{self, DeadSource, Rabbit};
use crate::{Error, handler, metric};

/// How often it looks for letters to send back, and how many go at once.
const LOOK: Duration = Duration::from_secs(1);
const SENT_AT_ONCE: i64 = 20;
/// How often letters are counted.
const COUNT: Duration = Duration::from_secs(15);
/// Pauses while the broker or the database is down.
const FIRST_TROUBLE: Duration = Duration::from_millis(200);
const LONGEST_TROUBLE: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    broker: Arc<Inner>,
}

impl Keeper {
    pub(crate) fn new(broker: Arc<Inner>) -> Self {
        metric::init_keeper();
        Self { broker }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        let collect = async {
            if let Backend::Rabbit(rabbit) = &self.broker.backend {
                stop.run_until_cancelled(self.collect(rabbit)).await;
            }
        };
        tokio::join!(collect, self.send_back(&stop), self.count(&stop));
    }

    /// Writes down what the broker holds, for ever. A letter leaves the broker after it is durable here.
    async fn collect(&self, rabbit: &Rabbit) {
        let mut trouble = Pace::new(FIRST_TROUBLE, LONGEST_TROUBLE);
        loop {
            let Err(error) = self.collect_until_lost(rabbit, &mut trouble).await;
            tracing::debug!(
                error = handler::chain(&error),
                "dead letters are not collected; trying again"
            );
            tokio::time::sleep(trouble.jittered()).await;
        }
    }

    async fn collect_until_lost(
        &self,
        rabbit: &Rabbit,
        trouble: &mut Pace,
    ) -> Result<std::convert::Infallible, Error> {
        let mut source = DeadSource::open(rabbit).await?;
        loop {
            let (corpse, acker) = source.next().await?;
            dead::bury(&self.broker.pool, &corpse).await?;
            rabbit::in_time(acker.ack(BasicAckOptions::default())).await?;
            trouble.reset();
        }
    }

    async fn send_back(&self, stop: &CancellationToken) {
        let mut publisher = match &self.broker.backend {
            Backend::Rabbit(rabbit) => Some(rabbit::Publisher::new(Arc::clone(rabbit))),
            Backend::Postgres(_) => None,
        };
        let mut pace = Pace::new(LOOK, LONGEST_TROUBLE);
        while !stop.is_cancelled() {
            match self.send_some_back(publisher.as_mut()).await {
                Ok(true) => pace.reset(),
                Ok(false) => {
                    pace.reset();
                    rest(LOOK, stop).await;
                }
                Err(error) => {
                    tracing::debug!(
                        error = handler::chain(&error),
                        "dead letters are not sent back; trying again"
                    );
                    rest(pace.jittered(), stop).await;
                }
            }
        }
    }

    /// Sends some letters back; false if none was to go.
    async fn send_some_back(&self, publisher: Option<&mut rabbit::Publisher>) -> Result<bool, Error> {
        let mut tx = self.broker.pool.begin().await?;
        let letters = dead::wanted_back(&mut tx, SENT_AT_ONCE).await?;
        if letters.is_empty() {
            tx.rollback().await?;
            return Ok(false);
        }
        let arrived = match publisher {
            Some(publisher) => {
                publisher.ready().await?;
                let messages: Vec<(&str, &[u8])> = letters
                    .iter()
                    .map(|letter| (letter.queue.as_str(), letter.body.as_slice()))
                    .collect();
                publisher.send_to(&messages).await?
            }
            None => {
                let mut arrived = Vec::with_capacity(letters.len());
                for letter in &letters {
                    let topic = letter.topic.as_deref().unwrap_or_default();
                    arrived.push(Postgres::send_to(&mut *tx, &letter.queue, topic, &letter.body).await?);
                }
                arrived
            }
        };
        let of = |wanted: bool| -> Vec<Uuid> {
            letters
                .iter()
                .zip(&arrived)
                .filter(|(_, arrived)| **arrived == wanted)
                .map(|(letter, _)| letter.id)
                .collect()
        };
        // Lost before the commit returns: they are sent again, and the inbox tells them apart.
        dead::sent_back(&mut tx, &of(true)).await?;
        dead::stranded(&mut tx, &of(false)).await?;
        tx.commit().await?;
        for Letter { id, queue, .. } in &letters {
            tracing::info!(dead_letter = %id, queue, "a dead letter was sent back");
        }
        Ok(true)
    }

    async fn count(&self, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(COUNT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A queue whose last letter has gone shows 0 instead of the last number.
        let mut seen = BTreeSet::new();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            match dead::counts(&self.broker.pool).await {
                Ok(counts) => {
                    let gone: Vec<String> = seen
                        .iter()
                        .filter(|queue| !counts.iter().any(|(name, _)| name == *queue))
                        .cloned()
                        .collect();
                    for queue in gone {
                        metric::dead(queue, 0);
                    }
                    for (queue, letters) in counts {
                        seen.insert(queue.clone());
                        metric::dead(queue, letters);
                    }
                }
                Err(error) => tracing::debug!(%error, "dead letters were not counted"),
            }
        }
    }
}
