//! A shop with an outbox, an inbox and a table of effects, on a database and a broker of its own.

use std::sync::Arc;
use std::time::Duration;

use events::{
    Broker, Config, Consumer, Consuming, Event, HandlerError, Outcome, Pattern, Received, Relay, Wake,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use test_support::{PrivateBroker, TestBroker, TestDatabase, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SHORT: Duration = Duration::from_secs(30);
pub(crate) const LONG: Duration = Duration::from_secs(180);
pub(crate) const QUEUE: &str = "shop.orders";
/// A topic that nobody needs to take.
pub(crate) const FACT: &str = "order.seen";

/// Which broker a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rabbit,
    Postgres,
}

/// What keeps the broker alive.
#[derive(Debug)]
pub(crate) enum Host {
    Shared(#[expect(dead_code, reason = "held until the test ends")] TestBroker),
    Private(PrivateBroker),
    None,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) config: Config,
    pub(crate) database: TestDatabase,
    pub(crate) pool: PgPool,
    pub(crate) host: Host,
    stop: CancellationToken,
    jobs: Vec<JoinHandle<()>>,
}

pub(crate) fn fast() -> Config {
    Config {
        attempts: 3,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        longest_poll: Duration::from_millis(50),
        visibility: Duration::from_secs(2),
        handler_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with(kind, fast()).await
    }

    pub(crate) async fn with(kind: Kind, mut config: Config) -> Self {
        let host = match kind {
            Kind::Rabbit => {
                let host = TestBroker::create().await;
                config.amqp_url = host.url();
                Host::Shared(host)
            }
            Kind::Postgres => Host::None,
        };
        Self::on(host, config).await
    }

    /// On a broker that the test may kill.
    pub(crate) async fn on_private_broker() -> Self {
        let host = PrivateBroker::start().await;
        let config = Config {
            amqp_url: host.url(),
            ..fast()
        };
        Self::on(Host::Private(host), config).await
    }

    async fn on(host: Host, config: Config) -> Self {
        let database = TestDatabase::create(&[(events::SCHEMA, &events::MIGRATOR)]).await;
        sqlx::raw_sql(include_str!("schema.sql"))
            .execute(database.admin())
            .await
            .unwrap();
        let pool = database.pool("shop").await;
        let broker = Broker::new(config.clone(), database.pool(events::SCHEMA).await).unwrap();
        Self {
            broker,
            config,
            database,
            pool,
            host,
            stop: CancellationToken::new(),
            jobs: Vec::new(),
        }
    }

    pub(crate) fn private(&mut self) -> &mut PrivateBroker {
        match &mut self.host {
            Host::Private(broker) => broker,
            Host::Shared(_) | Host::None => panic!("this test has no broker of its own"),
        }
    }

    pub(crate) fn run(&mut self, job: events::Job) {
        let stop = self.stop.clone();
        self.jobs.push(tokio::spawn((job.run)(stop)));
    }

    /// Starts a relay and returns what wakes it.
    pub(crate) fn relay(&mut self) -> Wake {
        let relaying = self.broker.relay(Relay {
            service: "shop",
            schema: "shop",
            pool: self.pool.clone(),
            facts: &[FACT],
        });
        self.run(relaying.job);
        relaying.wake
    }

    pub(crate) fn consumer_with<F>(&self, bindings: &[&str], handler: F) -> Consuming
    where
        F: for<'a> Fn(&'a mut PgConnection, &'a Received) -> BoxFuture<'a, Outcome> + Send + Sync + 'static,
    {
        let consumer = Consumer {
            queue: QUEUE,
            bindings: patterns(bindings),
            schema: "shop",
            pool: self.pool.clone(),
        };
        self.broker.consumer(consumer, handler).unwrap()
    }

    /// Starts a consumer that writes each message to `effect`.
    pub(crate) fn consume(&mut self, bindings: &[&str]) -> events::Bindings {
        let consuming = self.consumer_with(bindings, |conn, received| record(conn, received).boxed());
        self.run(consuming.job);
        consuming.bindings
    }

    pub(crate) fn keep(&mut self) {
        let keeper = self.broker.keeper();
        self.run(keeper);
    }

    /// Ends all jobs in order and makes it possible to start others.
    pub(crate) async fn halt(&mut self) {
        self.stop.cancel();
        for job in self.jobs.drain(..) {
            tokio::time::timeout(SHORT, job)
                .await
                .expect("a job ends when it is told to")
                .unwrap();
        }
        self.stop = CancellationToken::new();
    }

    /// Ends all jobs as a crash does.
    pub(crate) async fn crash(&mut self) {
        for job in self.jobs.drain(..) {
            job.abort();
            let _ = job.await;
        }
        // The connections of the dead process go with it.
        self.broker = Broker::new(self.config.clone(), self.database.pool(events::SCHEMA).await).unwrap();
    }

    pub(crate) async fn insert(&self, event: &Event) {
        let mut conn = self.pool.acquire().await.unwrap();
        assert!(events::outbox::insert(&mut conn, "shop", event).await.unwrap());
    }

    /// Writes `count` events of one topic and key, numbered from `first`.
    pub(crate) async fn insert_many(&self, topic: &str, key: &str, first: i64, count: i64) {
        let mut tx = self.database.admin().begin().await.unwrap();
        for n in first..first + count {
            let event = Event::new(topic, key, json!({ "n": n }));
            events::outbox::insert(&mut tx, "shop", &event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(self.database.admin())
            .await
            .unwrap()
    }

    pub(crate) async fn numbers(&self, sql: &'static str) -> Vec<i64> {
        sqlx::query_scalar(sql)
            .fetch_all(self.database.admin())
            .await
            .unwrap()
    }

    pub(crate) async fn effects(&self) -> i64 {
        self.number("select count(*) from shop.effect").await
    }

    pub(crate) async fn unpublished(&self) -> i64 {
        self.number("select count(*) from shop.outbox where published_at is null")
            .await
    }

    pub(crate) async fn letters(&self) -> Vec<events::dead::Letter> {
        events::dead::list(self.database.admin(), &events::dead::Filter::default(), 100)
            .await
            .unwrap()
    }

    pub(crate) async fn until_effects(&self, count: i64) {
        eventually(LONG, || async {
            let found = self.effects().await;
            if found >= count {
                Ok(())
            } else {
                Err(format!("{found} of {count}"))
            }
        })
        .await;
    }

    pub(crate) async fn until_letters(&self, count: usize) -> Vec<events::dead::Letter> {
        eventually(LONG, || async {
            let letters = self.letters().await;
            if letters.len() == count {
                Ok(letters)
            } else {
                Err(format!("{letters:?}"))
            }
        })
        .await
    }

    /// Waits until the queue exists, so that what is published from now on arrives.
    pub(crate) async fn until_bound(&self) {
        let probe = Event::new("shop.probe", "probe", json!({}));
        let consuming = self.broker.relay(Relay {
            service: "shop",
            schema: "shop",
            pool: self.pool.clone(),
            facts: &[],
        });
        // A mandatory event that has gone is one that a queue has taken.
        self.insert(&probe).await;
        let stop = CancellationToken::new();
        let job = tokio::spawn((consuming.job.run)(stop.clone()));
        eventually(LONG, || async { self.unpublished().await == 0 }).await;
        stop.cancel();
        job.await.unwrap();
    }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) async fn record(conn: &mut PgConnection, received: &Received) -> Outcome {
    sqlx::query("insert into shop.effect (event_id, topic, key, data) values ($1, $2, $3, $4)")
        .bind(&received.id)
        .bind(&received.topic)
        .bind(&received.key)
        .bind(&received.data)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts calls of a handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<std::sync::atomic::AtomicU32>);

impl Calls {
    pub(crate) fn add(&self) -> u32 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

pub(crate) fn retry(reason: &str) -> Outcome {
    Err(HandlerError::Retry(reason.to_owned()))
}
