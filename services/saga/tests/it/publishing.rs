//! Steps that publish a request and await its answer as an event.

use std::collections::BTreeMap;
use std::time::Duration;

use events::{Broker, Event, Relay};
use ids::SagaId;
use proto::saga::v1 as pb;
use saga::tokens::Tokens;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Json;
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use crate::operators_support::{register, rows};
use crate::participant::{Act, Participant};
use crate::service::{Instance, SOON, config, request, until_end};

const ALLOCATION: &str = r"
saga: ALLOCATION
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
retry: { retries: 3, initial: 10ms, factor: 2, max: 50ms }
steps:
  - name: ALLOCATE_DEVICE
    publish: device.allocate.requested
    message: evenkeel.bench.v1.WorkRequest
    with: { payload: input.payload, step: 1 }
    await:
      reply: device.allocated
      message: evenkeel.bench.v1.WorkResponse
      failed: device.allocate.failed
      ask_again: 1s
    compensate:
      publish: device.release
      message: evenkeel.bench.v1.UndoRequest
      with: { payload: input.payload }
  - name: USE
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.ALLOCATE_DEVICE.payload, step: 2 }
    pivot: true
";

/// An orchestrator with a broker, and a service at its other end.
struct Exchange {
    database: TestDatabase,
    participant: Participant,
    instance: Instance,
    devices: Devices,
}

/// Id, data and attributes of a request.
type Asked = (String, Value, Json<BTreeMap<String, String>>);

/// The other service: what it was asked, and an outbox of its own for what it answers. It borrows the tables of another
/// schema, since a relay does not care whose they are.
struct Devices {
    pool: PgPool,
    stop: CancellationToken,
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings(database: &TestDatabase) -> saga::Events {
    saga::Events {
        config: events::Config {
            longest_poll: Duration::from_millis(50),
            first_pause: Duration::from_millis(20),
            attempts: 2,
            // What was published is to be seen.
            keep_published: Some(SOON),
            ..events::Config::default()
        },
        pool: database.pool_config(),
    }
}

impl Exchange {
    async fn new() -> Self {
        let schemas = [
            (events::SCHEMA, &events::MIGRATOR),
            (saga::SCHEMA, &saga::MIGRATOR),
        ];
        let database = TestDatabase::create(&schemas).await;
        let devices = Devices::serve(&database).await;
        let participant = Participant::serve(|_| Act::Work).await;
        let instance = Instance::start_with(config(&database, &participant), Some(settings(&database)));
        register(&instance, ALLOCATION).await;
        Self {
            database,
            participant,
            instance,
            devices,
        }
    }

    async fn begin(&self, payload: &str) -> pb::Saga {
        let start = pb::StartSagaRequest {
            r#type: "ALLOCATION".to_owned(),
            ..request(payload, None)
        };
        self.instance.begin(start).await.unwrap().saga.unwrap()
    }

    async fn ended(&self, saga: &pb::Saga) -> pb::Saga {
        let waited = self.instance.wait(&saga.saga_id, until_end()).await.unwrap();
        assert!(waited.waited_for_reached, "{waited:?}");
        waited.saga.unwrap()
    }
}

impl Devices {
    async fn serve(database: &TestDatabase) -> Self {
        sqlx::raw_sql(
            "create schema devices;
             create table devices.asked (topic text, id text, data jsonb, attributes jsonb, at timestamptz default now());",
        )
        .execute(database.admin())
        .await
        .unwrap();
        sqlx::raw_sql(
            "create table devices.outbox (like saga.outbox including all);
             create table devices.inbox (like saga.inbox including all);",
        )
        .execute(database.admin())
        .await
        .unwrap();
        let pool = database.admin().clone();
        let broker = Broker::new(settings(database).config, database.pool(events::SCHEMA).await).unwrap();
        let stop = CancellationToken::new();
        let relaying = broker.relay(Relay {
            service: "devices",
            schema: "devices",
            pool: pool.clone(),
            facts: &[],
        });
        let consumer = events::Consumer {
            queue: "devices.requests",
            bindings: vec![
                "device.allocate.requested".parse().unwrap(),
                "device.release".parse().unwrap(),
            ],
            schema: "devices",
            pool: pool.clone(),
        };
        let consuming = broker
            .consumer(consumer, |connection, received| {
                Box::pin(async move {
                    sqlx::query(
                        "insert into devices.asked (topic, id, data, attributes) values ($1, $2, $3, $4)",
                    )
                    .bind(&received.topic)
                    .bind(&received.id)
                    .bind(&received.data)
                    .bind(Json(&received.attributes))
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .unwrap();
        for job in [relaying.job, consuming.job, broker.keeper()] {
            tokio::spawn((job.run)(stop.clone()));
        }
        Self { pool, stop }
    }

    /// Waits until it was asked on a topic so often, and returns what: ids, data and attributes.
    async fn asked(&self, topic: &str, times: usize) -> Vec<Asked> {
        eventually(SOON, async || {
            let rows: Vec<Asked> =
                sqlx::query_as("select id, data, attributes from devices.asked where topic = $1 order by at")
                    .bind(topic)
                    .fetch_all(&self.pool)
                    .await
                    .unwrap();
            (rows.len() >= times).then_some(rows)
        })
        .await
    }

    async fn answer(&self, topic: &str, token: &str, data: Value) {
        let event = Event::new(topic, "device_1", data).with_attribute("completiontoken", token);
        let mut connection = self.pool.acquire().await.unwrap();
        events::outbox::insert(&mut connection, "devices", &event)
            .await
            .unwrap();
    }
}

/// Reasons of the dead letters in the queue of answers.
async fn dead(database: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar("select reason from events.dead_letter order by 1")
        .fetch_all(database.admin())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_published_request_is_answered_by_an_event() {
    let exchange = Exchange::new().await;
    let saga = exchange.begin("a").await;
    let asked = exchange.devices.asked("device.allocate.requested", 1).await;
    let (_, data, attributes) = &asked[0];
    assert_eq!(*data, json!({"payload": "a", "step": 1}));
    assert_eq!(attributes["sagaid"], saga.saga_id);
    assert_eq!(
        (
            &*attributes["sagastep"],
            &*attributes["sagaop"],
            &*attributes["sagaindex"]
        ),
        ("ALLOCATE_DEVICE", "action", "0")
    );
    let token = &attributes["completiontoken"];
    exchange
        .devices
        .answer("device.allocated", token, json!({"payload": "device 7"}))
        .await;
    let done = exchange.ended(&saga).await;
    assert_eq!(done.phase(), pb::SagaPhase::Completed);
    assert_eq!(exchange.participant.seen()[0].work().payload, "device 7");

    // The answer comes once more, and once more after that with another id: both are done with.
    let before = rows(&exchange.database).await;
    exchange
        .devices
        .answer("device.allocated", token, json!({"payload": "device 8"}))
        .await;
    let consumed = async || {
        let applied: i64 =
            sqlx::query_scalar("select count(*) from saga.inbox where consumer = 'saga.replies'")
                .fetch_one(exchange.database.admin())
                .await
                .unwrap();
        applied == 2
    };
    eventually(SOON, consumed).await;
    assert_eq!(rows(&exchange.database).await, before);
    assert_eq!(dead(&exchange.database).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_no_by_event_turns_the_saga_round_and_nothing_is_released() {
    let exchange = Exchange::new().await;
    let saga = exchange.begin("a").await;
    let asked = exchange.devices.asked("device.allocate.requested", 1).await;
    let no = json!({"reason": "NO_DEVICE_FREE", "message": "all 3 are taken"});
    exchange
        .devices
        .answer("device.allocate.failed", &asked[0].2["completiontoken"], no)
        .await;
    let undone = exchange.ended(&saga).await;
    assert_eq!(
        (undone.phase(), undone.reason()),
        (pb::SagaPhase::Compensated, pb::SagaReason::Refused)
    );
    let error = undone.error.unwrap();
    assert_eq!(
        (error.reason.as_str(), error.message.as_str()),
        ("NO_DEVICE_FREE", "all 3 are taken")
    );
    assert!(exchange.participant.seen().is_empty());
}

#[tokio::test]
async fn without_an_answer_the_request_is_published_again_with_an_id_of_its_own() {
    let exchange = Exchange::new().await;
    let saga = exchange.begin("a").await;
    let asked = exchange.devices.asked("device.allocate.requested", 3).await;
    assert_eq!(
        asked
            .iter()
            .map(|(id, ..)| id)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        asked.len()
    );
    assert!(
        asked
            .iter()
            .all(|(_, data, attributes)| *data == asked[0].1 && *attributes == asked[0].2)
    );

    // A cancel releases what may have been allocated, by one message.
    exchange.instance.cancel(&saga.saga_id).await.unwrap();
    assert_eq!(exchange.ended(&saga).await.phase(), pb::SagaPhase::Compensated);
    let released = exchange.devices.asked("device.release", 1).await;
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].1, json!({"payload": "a"}));
    assert!(!released[0].2.contains_key("completiontoken"));
    // What was allocated after all comes too late, and is done with.
    exchange
        .devices
        .answer("device.allocated", &asked[0].2["completiontoken"], json!({}))
        .await;
    let applied = async || {
        let applied: i64 = sqlx::query_scalar("select count(*) from saga.inbox")
            .fetch_one(exchange.database.admin())
            .await
            .unwrap();
        applied == 1
    };
    eventually(SOON, applied).await;
}

#[tokio::test]
async fn an_answer_that_fits_nothing_is_a_dead_letter_and_changes_nothing() {
    let exchange = Exchange::new().await;
    let saga = exchange.begin("a").await;
    let asked = exchange.devices.asked("device.allocate.requested", 1).await;
    let token = asked[0].2["completiontoken"].clone();
    let tokens = Tokens::open(&exchange.database.pool(saga::SCHEMA).await)
        .await
        .unwrap();
    let id: SagaId = saga.saga_id.parse().unwrap();
    let key = |step| saga_core::OpKey {
        step,
        index: 0,
        op: saga_core::Op::Action,
    };
    let events = async || {
        let events: i64 = sqlx::query_scalar("select count(*) from saga.event")
            .fetch_one(exchange.database.admin())
            .await
            .unwrap();
        events
    };
    let before = events().await;
    let devices = &exchange.devices;
    devices
        .answer("device.allocated", &format!("{token}x"), json!({}))
        .await;
    devices
        .answer("device.allocated", &tokens.make(SagaId::new(), key(0)), json!({}))
        .await;
    devices
        .answer("device.allocated", &tokens.make(id, key(1)), json!({}))
        .await;
    devices
        .answer("device.allocated", &token, json!({"payload": 7}))
        .await;
    devices.answer("device.allocated", &token, json!("text")).await;
    devices
        .answer("device.allocate.failed", &token, json!({"reason": "no device"}))
        .await;
    devices.answer("device.allocate.failed", &token, json!({})).await;
    let all_dead = async || {
        let dead = dead(&exchange.database).await;
        (dead.len() == 7).then_some(dead)
    };
    let reasons = eventually(SOON, all_dead).await;
    for word in [
        "COMPLETION_TOKEN_INVALID",
        "SAGA_NOT_FOUND",
        "does not await",
        "field payload",
        "reason",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(word)),
            "{word}: {reasons:?}"
        );
    }
    assert_eq!(events().await, before);
    devices
        .answer("device.allocated", &token, json!({"payload": "d"}))
        .await;
    assert_eq!(exchange.ended(&saga).await.phase(), pb::SagaPhase::Completed);
}

#[tokio::test]
async fn requests_wait_in_the_outbox_and_do_not_pile_up_while_the_broker_is_away() {
    let schemas = [
        (events::SCHEMA, &events::MIGRATOR),
        (saga::SCHEMA, &saga::MIGRATOR),
    ];
    let database = TestDatabase::create(&schemas).await;
    let participant = Participant::serve(|_| Act::Work).await;
    // This instance has no broker at all.
    let instance = Instance::start(config(&database, &participant));
    register(&instance, ALLOCATION).await;
    let start = pb::StartSagaRequest {
        r#type: "ALLOCATION".to_owned(),
        ..request("a", None)
    };
    let saga = instance.begin(start).await.unwrap().saga.unwrap();
    let waiting = async || {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from saga.outbox where topic = 'device.allocate.requested'")
                .fetch_one(database.admin())
                .await
                .unwrap();
        waiting
    };
    eventually(SOON, async || waiting().await == 1).await;
    // It is asked several times more within this wait.
    let newer = crate::service::until(pb::wait_until::Until::NewerThan(1));
    let three_asks = pb::WaitUntil {
        timeout: Some(prost_types::Duration {
            seconds: 3,
            nanos: 500_000_000,
        }),
        ..newer
    };
    instance.wait(&saga.saga_id, three_asks).await.unwrap();
    assert_eq!(waiting().await, 1);
}

/// Nobody knows when a parked saga is released; until then the answers to all others must not wait behind its own.
#[tokio::test]
async fn an_answer_to_a_parked_saga_does_not_hold_up_those_to_its_neighbours() {
    let exchange = Exchange::new().await;
    let (parked, other) = (exchange.begin("a").await, exchange.begin("b").await);
    let asked = exchange.devices.asked("device.allocate.requested", 2).await;
    let token = |saga: &pb::Saga| {
        let of_it = asked.iter().find(|(.., facts)| facts["sagaid"] == saga.saga_id);
        of_it.unwrap().2["completiontoken"].clone()
    };
    let id: SagaId = parked.saga_id.parse().unwrap();
    // As if deciding on it had panicked in a process that is gone; this one learns of it as it loads its sagas.
    sqlx::query(
        r#"update saga.instance set quarantined = true, needs_attention = true,
           attention = '[{"cause": "QUARANTINED", "since": "2026-11-21T00:00:00Z", "note": "deciding panicked"}]'
           where id = $1"#,
    )
    .bind(id.uuid())
    .execute(exchange.database.admin())
    .await
    .unwrap();
    let Exchange {
        database,
        participant,
        instance,
        devices,
    } = exchange;
    instance.stop().await.unwrap();
    let mut own = settings(&database);
    own.config.prefetch = 1;
    let instance = Instance::start_with(config(&database, &participant), Some(own));
    devices
        .answer("device.allocated", &token(&parked), json!({"payload": "1"}))
        .await;
    devices
        .answer("device.allocated", &token(&other), json!({"payload": "2"}))
        .await;
    let done = eventually(SOON, async || {
        let shown = instance.get(&other.saga_id).await.saga.unwrap();
        (shown.phase() == pb::SagaPhase::Completed).then_some(shown)
    })
    .await;
    assert_eq!(done.phase(), pb::SagaPhase::Completed);
    let reasons = eventually(SOON, async || {
        let dead = dead(&database).await;
        (!dead.is_empty()).then_some(dead)
    })
    .await;
    assert!(reasons[0].contains("parked"), "{reasons:?}");
    assert!(instance.get(&parked.saga_id).await.saga.unwrap().quarantined);
}
