//! What services tell each other, over RabbitMQ and over the Postgres queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::events::{Broker, Config, Consumer, Received};
use e2e::{LONG, Platform};
use futures::FutureExt;
use rstest::rstest;
use test_support::{TestBroker, TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

/// Listens to everything.
pub(crate) async fn listen(
    database: &TestDatabase,
    amqp_url: &str,
    heard: &Arc<Mutex<Vec<Received>>>,
) -> CancellationToken {
    let setup = "create schema listener;
        create table listener.inbox (
            consumer text, source text, event_id text, done_at timestamptz default now(),
            constraint inbox_pkey primary key (consumer, source, event_id)
        )";
    sqlx::raw_sql(setup)
        .execute(database.admin())
        .await
        .expect("a fresh database");
    let config = Config {
        amqp_url: amqp_url.to_owned(),
        ..Config::default()
    };
    let broker = Broker::new(config, database.pool(::events::SCHEMA).await).expect("good settings");
    let consumer = Consumer {
        queue: "listener.all",
        bindings: vec!["#".parse().expect("a pattern")],
        schema: "listener",
        pool: database.pool("listener").await,
    };
    let heard = Arc::clone(heard);
    let consuming = broker
        .consumer(consumer, move |_, received| {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(received.clone());
            async { Ok(()) }.boxed()
        })
        .expect("a good name");
    let stop = CancellationToken::new();
    tokio::spawn((consuming.job.run)(stop.clone()));
    stop
}

#[rstest]
#[case::rabbitmq(true)]
#[case::postgres(false)]
#[tokio::test]
async fn every_service_tells_what_happened_in_one_trace(#[case] on_rabbitmq: bool) {
    let database = TestDatabase::create(&[(::events::SCHEMA, &::events::MIGRATOR)]).await;
    let host = if on_rabbitmq {
        Some(TestBroker::create().await)
    } else {
        None
    };
    let url = host.as_ref().map(TestBroker::url).unwrap_or_default();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let stop = listen(&database, &url, &heard).await;
    let environment = host
        .iter()
        .map(|host| ("AMQP_URL".to_owned(), host.url()))
        .collect();
    let platform = Platform::start_on(database, environment).await;
    // A fact that is told before the queue exists is not heard; the queue is there once one has been.
    eventually(LONG, || async {
        platform.user(1).await;
        !heard.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    })
    .await;
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "translate", "good morning", "r1")
        .await
        .unwrap();
    let wanted = [
        "quota.confirmed",
        "quota.granted",
        "quota.low",
        "quota.reserved",
        "saga.completed",
        "task.completed",
        "task.created",
        "task.progressed",
        "task.started",
    ];
    let of_this_task = || -> BTreeMap<String, Received> {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let user = user.to_string();
        let about = |one: &&Received| one.data["userId"] == user.as_str() || one.topic.starts_with("saga.");
        heard
            .iter()
            .filter(about)
            .map(|one| (one.topic.clone(), one.clone()))
            .collect()
    };
    eventually(LONG, || async {
        let topics: Vec<String> = of_this_task().into_keys().collect();
        if topics == wanted {
            Ok(())
        } else {
            Err(format!("{topics:?}"))
        }
    })
    .await;
    let events = of_this_task();
    for (topic, event) in &events {
        let service = topic.split('.').next().unwrap_or_default();
        assert_eq!(event.source, format!("/evenkeel/{service}"));
        assert!(event.data["timestamp"].is_string(), "{topic}: {}", event.data);
        assert!(event.key.is_some() && event.time.is_some());
    }
    assert_eq!(events["task.created"].data["taskId"], task.task_id.as_str());
    // The trace goes from the call that made the task through the saga and its steps into every event.
    let trace = |topic: &str| {
        events[topic]
            .traceparent
            .as_deref()
            .and_then(|text| text.get(3..35))
    };
    assert!(trace("saga.completed").is_some());
    for topic in [
        "quota.reserved",
        "task.created",
        "task.started",
        "quota.confirmed",
        "task.completed",
    ] {
        assert_eq!(trace(topic), trace("saga.completed"), "{topic}");
    }
    stop.cancel();
}
