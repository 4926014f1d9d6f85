//! The consumer: from a queue, through the inbox, to a handler.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::PgPool;
use telemetry::trace;
use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::broker::{Backend, Consumer, Inner};
use crate::dead::Corpse;
use crate::handler::{self, Handler, HandlerError};
use crate::inbox::Inbox;
use crate::metric::{self, Fate};
use crate::pace::{Pace, rest};
use crate::{Config, Error, Pattern, Received, postgres, rabbit};

mod lanes;

use lanes::Lanes;

/// Deliveries of a message whose consumer ends while it has it (a crash, a lost connection), after which it is a dead
/// letter. A constant: RabbitMQ refuses a queue that is declared with another number than it was made with.
pub(crate) const DELIVERY_LIMIT: u32 = 20;
/// Pauses while the broker or the database is down.
const FIRST_TROUBLE: Duration = Duration::from_millis(100);
const LONGEST_TROUBLE: Duration = Duration::from_secs(5);
/// How often the inbox is swept, and how many rows at a time.
const SWEEP: Duration = Duration::from_secs(60);
const SWEPT_ROWS: i64 = 1_000;

/// What a queue takes. Clones change the same consumer.
#[derive(Debug, Clone)]
pub struct Bindings(watch::Sender<BTreeSet<Pattern>>);

impl Bindings {
    pub(crate) fn new(first: BTreeSet<Pattern>) -> Self {
        Self(watch::Sender::new(first))
    }

    /// Lets the queue take these topics from now on; the consumer tells the broker at once if it runs, else at its start.
    ///
    /// A pattern that this process had set before and that is absent now is taken from the queue. Patterns that other
    /// processes have set stay: replicas that learn of a change one after the other do not undo each other's.
    pub fn set(&self, patterns: impl IntoIterator<Item = Pattern>) {
        let wanted: BTreeSet<Pattern> = patterns.into_iter().collect();
        self.0.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }

    /// Returns what was set last.
    #[must_use]
    pub fn get(&self) -> Vec<Pattern> {
        self.0.borrow().iter().cloned().collect()
    }
}

/// A message that a broker has delivered.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) body: Vec<u8>,
    /// This one included.
    pub(crate) deliveries: u32,
    pub(crate) receipt: Receipt,
}

/// What tells the broker what became of a message. Dropped without a word, the message comes again.
#[derive(Debug)]
pub(crate) enum Receipt {
    Rabbit(rabbit::Message),
    Postgres(postgres::Message),
}

impl Receipt {
    async fn done(&self) -> Result<(), Error> {
        match self {
            Self::Rabbit(message) => message.done().await,
            Self::Postgres(message) => message.done().await,
        }
    }

    async fn dead(&self, corpse: &Corpse) -> Result<(), Error> {
        match self {
            Self::Rabbit(message) => message.dead(corpse).await,
            Self::Postgres(message) => message.dead(corpse).await,
        }
    }

    async fn release(&self) -> Result<(), Error> {
        match self {
            Self::Rabbit(message) => message.release().await,
            Self::Postgres(message) => message.release().await,
        }
    }
}

/// A subscription.
enum Source {
    Rabbit(Box<rabbit::Source>),
    Postgres(postgres::Source),
}

impl Source {
    async fn open(
        backend: &Backend,
        queue: &'static str,
        wanted: &BTreeSet<Pattern>,
        prefetch: u16,
    ) -> Result<Self, Error> {
        match backend {
            Backend::Rabbit(rabbit) => {
                let source = rabbit::Source::open(rabbit, queue, wanted, prefetch).await?;
                Ok(Self::Rabbit(Box::new(source)))
            }
            Backend::Postgres(postgres) => {
                postgres.declare(queue, wanted).await?;
                Ok(Self::Postgres(postgres.subscribe(queue)))
            }
        }
    }

    /// Waits until there may be messages. May be given up at any moment.
    async fn ready(&mut self) -> Result<(), Error> {
        match self {
            Self::Rabbit(source) => source.ready().await,
            Self::Postgres(source) => {
                source.ready().await;
                Ok(())
            }
        }
    }

    /// Takes messages. Must not be given up.
    async fn take(&mut self, room: usize) -> Result<Vec<Delivery>, Error> {
        match self {
            Self::Rabbit(source) => Ok(source.take()),
            Self::Postgres(source) => source.take(room).await,
        }
    }

    async fn bind(&self, before: &BTreeSet<Pattern>, wanted: &BTreeSet<Pattern>) -> Result<(), Error> {
        match self {
            Self::Rabbit(source) => source.bind(before, wanted).await,
            Self::Postgres(source) => source.bind(before, wanted).await,
        }
    }

    async fn tend(&self) -> Result<(), Error> {
        match self {
            // The connection's heartbeat does that.
            Self::Rabbit(_) => Ok(()),
            Self::Postgres(source) => source.tend().await,
        }
    }
}

/// What every message of a consumer needs.
struct Shared {
    queue: &'static str,
    pool: PgPool,
    inbox: Inbox,
    handler: Arc<Handler>,
    config: Config,
    /// Handlers at once; not taken while a message waits for its next attempt.
    places: Semaphore,
}

pub(crate) struct Worker {
    broker: Arc<Inner>,
    shared: Arc<Shared>,
    bindings: Bindings,
}

impl Worker {
    pub(crate) fn new(
        broker: Arc<Inner>,
        consumer: Consumer,
        bindings: Bindings,
        handler: Arc<Handler>,
    ) -> Self {
        metric::init_consumer(consumer.queue);
        let config = broker.config.clone();
        let shared = Shared {
            queue: consumer.queue,
            inbox: Inbox::new(consumer.schema, consumer.queue),
            pool: consumer.pool,
            handler,
            places: Semaphore::new(usize::from(config.concurrency)),
            config,
        };
        Self {
            broker,
            shared: Arc::new(shared),
            bindings,
        }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::join!(self.consume(&stop), self.sweep(&stop));
    }

    async fn consume(&self, stop: &CancellationToken) {
        let mut trouble = Pace::new(FIRST_TROUBLE, LONGEST_TROUBLE);
        let mut troubled = false;
        while !stop.is_cancelled() {
            let begun = tokio::time::Instant::now();
            let Err(error) = self.session(stop).await else {
                return;
            };
            if begun.elapsed() > LONGEST_TROUBLE {
                trouble.reset();
                troubled = false;
            }
            let (queue, error) = (self.shared.queue, handler::chain(&error));
            if std::mem::replace(&mut troubled, true) {
                tracing::debug!(queue, error, "the consumer cannot read its queue");
            } else {
                tracing::warn!(
                    queue,
                    error,
                    "the consumer cannot read its queue; it goes on trying"
                );
            }
            rest(trouble.jittered(), stop).await;
        }
    }

    /// Reads the queue until the order to stop, or until the broker is lost.
    async fn session(&self, stop: &CancellationToken) -> Result<(), Error> {
        let shared = &self.shared;
        let prefetch = shared.config.prefetch;
        let mut changes = self.bindings.0.subscribe();
        let mut bound = changes.borrow_and_update().clone();
        let opening = Source::open(&self.broker.backend, shared.queue, &bound, prefetch);
        let Some(source) = stop.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let mut source = source?;
        tracing::info!(queue = shared.queue, "consuming");
        let mut renewal = tokio::time::interval(shared.config.visibility / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lanes = Lanes::new(Arc::clone(shared));
        let ended = loop {
            let room = usize::from(prefetch).saturating_sub(lanes.held());
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = lanes.settled(), if lanes.held() > 0 => {}
                changed = changes.changed() => {
                    // The sender lives in `self`.
                    if changed.is_err() { break Ok(()) }
                    let wanted = changes.borrow_and_update().clone();
                    if let Err(error) = source.bind(&bound, &wanted).await { break Err(error) }
                    bound = wanted;
                }
                _ = renewal.tick() => if let Err(error) = source.tend().await { break Err(error) },
                ready = source.ready(), if room > 0 => {
                    if let Err(error) = ready { break Err(error) }
                    match source.take(room).await {
                        Ok(deliveries) => lanes.extend(deliveries),
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        // What runs may end; what waits goes back to the queue. Messages of a lost connection come again: those that are
        // applied here are duplicates then.
        lanes.end().await;
        ended
    }

    /// Forgets what was applied long ago.
    async fn sweep(&self, stop: &CancellationToken) {
        let shared = &self.shared;
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            while !stop.is_cancelled() {
                let keep = shared.config.keep_inbox;
                match shared.inbox.sweep(&shared.pool, keep, SWEPT_ROWS).await {
                    Ok(swept) if swept == SWEPT_ROWS.unsigned_abs() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(queue = shared.queue, %error, "the inbox was not swept");
                        break;
                    }
                }
            }
        }
    }
}

/// How an attempt ended well.
enum Applied {
    Now,
    Before,
}

impl Shared {
    /// Does with a message whatever is to be done, until it has left our hands.
    async fn settle(&self, delivery: &Delivery, received: Result<&Received, &str>, gone: &CancellationToken) {
        let queue = self.queue;
        let outcome = match received {
            Ok(received) => self.attempts(received, gone).await,
            Err(reason) => Some(Err(format!("it cannot be read: {reason}"))),
        };
        let told = match outcome {
            Some(Ok(fate)) => {
                metric::consumed(queue, fate);
                delivery.receipt.done().await
            }
            Some(Err(reason)) => {
                let event_id = received.ok().map(|received| received.id.as_str());
                tracing::error!(queue, event_id, reason, "a message becomes a dead letter");
                let corpse = Corpse::of(queue, delivery.body.clone(), reason, delivery.deliveries);
                let told = delivery.receipt.dead(&corpse).await;
                if told.is_ok() {
                    metric::consumed(queue, Fate::Dead);
                }
                told
            }
            None => delivery.receipt.release().await,
        };
        if let Err(error) = told {
            // It comes again, and the inbox knows whether it was applied.
            tracing::debug!(
                queue,
                error = handler::chain(&error),
                "the broker was not told what became of a message"
            );
        }
    }

    /// Tries until the message is applied or will never be (the reason why); `None` if the order to let go came first.
    async fn attempts(&self, received: &Received, gone: &CancellationToken) -> Option<Result<Fate, String>> {
        let mut pace = Pace::new(self.config.first_pause, self.config.longest_pause);
        let mut failed = 0;
        loop {
            // The semaphore is never closed.
            let place = gone.run_until_cancelled(self.places.acquire()).await?.ok()?;
            let outcome = self.attempt(received).await;
            drop(place);
            let reason = match outcome {
                Ok(Applied::Now) => return Some(Ok(Fate::Done)),
                Ok(Applied::Before) => return Some(Ok(Fate::Duplicate)),
                Err(HandlerError::Dead(reason)) => return Some(Err(reason)),
                Err(HandlerError::Retry(reason)) => {
                    failed += 1;
                    if failed >= self.config.attempts {
                        return Some(Err(format!("{failed} attempts failed; the last: {reason}")));
                    }
                    reason
                }
                Err(HandlerError::Unavailable(reason)) => reason,
            };
            metric::consumed(self.queue, Fate::Retried);
            tracing::warn!(
                queue = self.queue,
                event_id = received.id,
                topic = received.topic,
                failed,
                reason,
                "a message was not applied; it is tried again"
            );
            if !rest(pace.jittered(), gone).await {
                return None;
            }
        }
    }

    /// Runs the handler once, bounded in time, in the trace of the message.
    async fn attempt(&self, received: &Received) -> Result<Applied, HandlerError> {
        let span = tracing::info_span!(
            "consume",
            queue = self.queue,
            topic = %received.topic,
            event_id = %received.id,
            otel.kind = "consumer"
        );
        let incoming = received.traceparent.as_deref().and_then(|text| text.parse().ok());
        if let Some(parent) = incoming {
            trace::set_parent(&span, parent);
        }
        let current = span
            .in_scope(trace::current)
            .or(incoming)
            .unwrap_or_else(trace::Traceparent::random);
        let work = AssertUnwindSafe(self.apply(received)).catch_unwind();
        let bounded = tokio::time::timeout(self.config.handler_timeout, work);
        match trace::scope(current, bounded.instrument(span)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(HandlerError::Retry(
                "the handler panicked; see the log".to_owned(),
            )),
            Err(_) => Err(HandlerError::Retry("the handler took too long".to_owned())),
        }
    }

    async fn apply(&self, received: &Received) -> Result<Applied, HandlerError> {
        // Waiting for whoever applies the same message, and then seeing it, needs READ COMMITTED.
        let mut tx = self
            .pool
            .begin_with("begin isolation level read committed")
            .await?;
        if !self.inbox.claim(&mut tx, received).await? {
            tx.rollback().await?;
            return Ok(Applied::Before);
        }
        (self.handler)(&mut tx, received).await?;
        // The commit of a transaction that has failed is a rollback that says nothing. This says it, if the handler did not.
        sqlx::query("select 1").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Applied::Now)
    }
}
