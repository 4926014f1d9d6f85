//! Whoever wants devices: an outbox for requests and releases, and what was answered.

use std::collections::BTreeMap;
use std::time::Duration;

use doubles::allocator::{self, Allocator, Options, State};
use events::{Broker, Config, Consumer, Event, Relay, outbox};
use futures::FutureExt as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Json;
use test_support::{TestBroker, TestDatabase, eventually};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::merchant::LONG;

const ASKER: &str = "asker";

/// Which broker a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rabbit,
    Postgres,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Answer {
    pub(crate) topic: String,
    pub(crate) data: Value,
    #[sqlx(json)]
    pub(crate) attributes: BTreeMap<String, String>,
}

pub(crate) struct World {
    pub(crate) allocator: Allocator,
    database: TestDatabase,
    asker: PgPool,
    broker: Broker,
    _host: Option<TestBroker>,
    _stop: DropGuard,
}

fn of(devices: i32) -> Options {
    Options {
        devices,
        ..Options::default()
    }
}

impl World {
    pub(crate) async fn new(kind: Kind, devices: i32) -> Self {
        let host = match kind {
            Kind::Rabbit => Some(TestBroker::create().await),
            Kind::Postgres => None,
        };
        let config = Config {
            amqp_url: host.as_ref().map(TestBroker::url).unwrap_or_default(),
            attempts: 3,
            first_pause: Duration::from_millis(5),
            longest_poll: Duration::from_millis(50),
            ..Config::default()
        };
        let schemas = [
            (events::SCHEMA, &events::MIGRATOR),
            (allocator::SCHEMA, &allocator::MIGRATOR),
        ];
        let database = TestDatabase::create(&schemas).await;
        sqlx::raw_sql(
            "create schema asker;
             create table asker.outbox (like doubles.outbox including all);
             create table asker.inbox (like doubles.inbox including all);
             create table asker.answer (n bigint generated always as identity, topic text, data jsonb, attributes jsonb)",
        )
        .execute(database.admin())
        .await
        .unwrap();
        let asker = database.pool(ASKER).await;
        let broker = Broker::new(config, database.pool(events::SCHEMA).await).unwrap();
        let stop = CancellationToken::new();
        let consumer = Consumer {
            queue: "asker.answers",
            bindings: ["device.allocated", "device.allocate.failed"]
                .map(|topic| topic.parse().unwrap())
                .into(),
            schema: ASKER,
            pool: asker.clone(),
        };
        let consuming = broker
            .consumer(consumer, |conn, received| {
                async move {
                    sqlx::query("insert into answer (topic, data, attributes) values ($1, $2, $3)")
                        .bind(&received.topic)
                        .bind(&received.data)
                        .bind(Json(&received.attributes))
                        .execute(conn)
                        .await?;
                    Ok(())
                }
                .boxed()
            })
            .unwrap();
        let relaying = broker.relay(Relay {
            service: "asker",
            schema: ASKER,
            pool: asker.clone(),
            facts: &[],
        });
        for job in [consuming.job, relaying.job, broker.keeper()] {
            tokio::spawn((job.run)(stop.clone()));
        }
        let pool = database.pool(allocator::SCHEMA).await;
        let allocator = allocator::start(&broker, &pool, of(devices)).await.unwrap();
        Self {
            allocator,
            database,
            asker,
            broker,
            _host: host,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) async fn start(&self, devices: i32) -> Result<Allocator, allocator::Error> {
        let pool = self.database.pool(allocator::SCHEMA).await;
        allocator::start(&self.broker, &pool, of(devices)).await
    }

    pub(crate) async fn another(&self, devices: i32) -> Allocator {
        self.start(devices).await.unwrap()
    }

    pub(crate) async fn restart(&mut self, devices: i32) {
        let next = self.another(devices).await;
        std::mem::replace(&mut self.allocator, next).stop().await;
    }

    pub(crate) async fn publish(&self, topic: &str, data: &Value) {
        let order = data["orderId"].as_str().filter(|order| !order.is_empty());
        let order = order.unwrap_or("nobody");
        let event = Event::new(topic, order, data.clone())
            .with_attribute("completiontoken", format!("token of {order}"))
            .with_attribute("sagastep", "ALLOCATE_DEVICE");
        let mut conn = self.asker.acquire().await.unwrap();
        outbox::insert(&mut conn, ASKER, &event).await.unwrap();
    }

    /// Asks for a device, by an event of its own each time.
    pub(crate) async fn ask(&self, order: &str) {
        let data = json!({
            "orderId": order, "userId": "user-1", "planId": "plan-1", "timestamp": "2026-11-21T00:00:00Z",
        });
        self.publish("device.allocate.requested", &data).await;
    }

    /// Waits until an order was answered so often, and returns what.
    pub(crate) async fn answers(&self, order: &str, count: usize) -> Vec<Answer> {
        eventually(LONG, async || {
            let answers: Vec<Answer> = sqlx::query_as(
                "select topic, data, attributes from answer where data ->> 'orderId' = $1 order by n",
            )
            .bind(order)
            .fetch_all(&self.asker)
            .await
            .unwrap();
            (answers.len() >= count).then_some(answers)
        })
        .await
    }

    /// Waits until the allocator has applied so many events.
    pub(crate) async fn applied(&self, count: i64) {
        eventually(LONG, async || {
            let applied: i64 = sqlx::query_scalar("select count(*) from doubles.inbox")
                .fetch_one(self.database.admin())
                .await
                .unwrap();
            applied == count
        })
        .await;
    }

    /// Waits until an order is in a state.
    pub(crate) async fn state(&self, order: &str, state: State) {
        eventually(LONG, async || {
            let books = self.allocator.books().await.unwrap();
            let mut orders = books.allocations.iter();
            orders.any(|found| found.order_id == order && found.state == state)
        })
        .await;
    }

    /// Waits for so many dead letters, and returns why they died.
    pub(crate) async fn dead(&self, count: usize) -> Vec<String> {
        eventually(LONG, async || {
            let reasons: Vec<String> = sqlx::query_scalar("select reason from events.dead_letter")
                .fetch_all(self.database.admin())
                .await
                .unwrap();
            (reasons.len() == count).then_some(reasons)
        })
        .await
    }
}
