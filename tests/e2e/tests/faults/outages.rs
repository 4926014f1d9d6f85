//! RabbitMQ gone for half a minute, then Postgres, under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use events::{Broker, Consumer};
use futures::FutureExt;
use private_postgres::{Config, PrivatePostgres};
use sqlx::PgPool;
use test_support::{PrivateBroker, Scratch, TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use e2e::{LONG, Platform, resident_bytes};

use crate::load::{Load, program};

/// How long each part is away.
const AWAY: Duration = Duration::from_secs(30);
/// How long the load runs before and after.
const AROUND: Duration = Duration::from_secs(4);
/// Most that the orchestrator's resident memory may grow, in bytes.
const MEMORY_GROWTH_BYTES: u64 = 64 * 1024 * 1024;

/// Watches the orchestrator's resident memory.
struct Memory {
    pid: u32,
    first: u64,
    most: u64,
}

impl Memory {
    fn of(platform: &Platform) -> Self {
        let pid = platform.saga.as_ref().expect("an orchestrator").pid();
        let first = resident_bytes(pid).expect("it lives");
        Self {
            pid,
            first,
            most: first,
        }
    }

    fn look(&mut self) {
        self.most = self.most.max(resident_bytes(self.pid).expect("it lives"));
    }

    fn grown(&self) -> u64 {
        self.most.saturating_sub(self.first)
    }
}

async fn under_load(
    platform: &Platform,
    load: &mut Load,
    user: ids::UserId,
    memory: &mut Memory,
    time: Duration,
) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        load.top_up(platform, user).await;
        memory.look();
        tokio::task::yield_now().await;
    }
}

fn server(scratch: &Scratch, port: Option<u16>) -> Config {
    Config {
        port,
        max_connections: 300,
        ..Config::new(scratch.postgres_dir())
    }
}

/// Writes down which sagas are said to have ended, in a database of its own that stays.
struct Listener {
    database: TestDatabase,
    stop: CancellationToken,
}

impl Listener {
    async fn start(amqp_url: &str) -> Self {
        let database = TestDatabase::create(&[(events::SCHEMA, &events::MIGRATOR)]).await;
        let setup = "create schema listener;
            create table listener.inbox (
                consumer text, source text, event_id text, done_at timestamptz default now(),
                constraint inbox_pkey primary key (consumer, source, event_id)
            );
            create table listener.heard (saga_id text not null)";
        sqlx::raw_sql(setup)
            .execute(database.admin())
            .await
            .expect("a fresh database");
        let config = events::Config {
            amqp_url: amqp_url.to_owned(),
            ..events::Config::default()
        };
        let broker = Broker::new(config, database.pool(events::SCHEMA).await).expect("good settings");
        let consumer = Consumer {
            queue: "listener.ended",
            bindings: ["saga.completed", "saga.compensated"]
                .map(|topic| topic.parse().expect("a pattern"))
                .into(),
            schema: "listener",
            pool: database.pool("listener").await,
        };
        let consuming = broker
            .consumer(consumer, |conn, received| {
                let saga = received.data["sagaId"].as_str().unwrap_or_default().to_owned();
                async move {
                    sqlx::query("insert into listener.heard values ($1)")
                        .bind(saga)
                        .execute(conn)
                        .await?;
                    Ok(())
                }
                .boxed()
            })
            .expect("a good name");
        let stop = CancellationToken::new();
        tokio::spawn((consuming.job.run)(stop.clone()));
        Self { database, stop }
    }

    async fn heard(&self) -> Vec<String> {
        sqlx::query_scalar("select saga_id from listener.heard")
            .fetch_all(self.database.admin())
            .await
            .expect("the database answers")
    }
}

async fn ended(sql: &PgPool) -> BTreeSet<String> {
    let all = "select id from saga_instances where status in ('COMPLETED', 'COMPENSATED')";
    let ids: Vec<String> = sqlx::query_scalar(all)
        .fetch_all(sql)
        .await
        .expect("the database answers");
    ids.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_without_rabbitmq_and_then_without_postgres_loses_nothing() {
    let scratch = Scratch::new().expect("a directory can be made");
    let postgres = PrivatePostgres::start(server(&scratch, None))
        .await
        .expect("it starts");
    let port = postgres.port();
    let mut rabbitmq = PrivateBroker::start().await;
    let listener = Listener::start(&rabbitmq.url()).await;
    let database = TestDatabase::create_on(&postgres.admin_url(), &[]).await;
    let environment = vec![("AMQP_URL".to_owned(), rabbitmq.url())];
    let platform = Platform::start_on(database, environment).await;
    program(&platform);
    let user = platform.user(1_000_000).await;
    let mut load = Load::default();
    // Facts from before the queue exists are not heard, so it is waited for.
    let mut first = 0;
    eventually(LONG, || {
        first += 1;
        let name = format!("first{first}");
        let (platform, listener) = (&platform, &listener);
        async move {
            let task = platform
                .create_task(user, "summarize", "fine", &name)
                .await
                .ok()?;
            platform.ended(&task.task_id).await;
            (!listener.heard().await.is_empty()).then_some(())
        }
    })
    .await;
    let before = ended(platform.sql()).await;
    let mut memory = Memory::of(&platform);
    under_load(&platform, &mut load, user, &mut memory, AROUND).await;

    rabbitmq.stop().await;
    let started = load.started.len();
    under_load(&platform, &mut load, user, &mut memory, AWAY).await;
    let without = load.started.len() - started;
    rabbitmq.restart().await;
    under_load(&platform, &mut load, user, &mut memory, AROUND).await;

    postgres.stop().await;
    under_load(&platform, &mut load, user, &mut memory, AWAY).await;
    let back = Instant::now();
    let postgres = PrivatePostgres::start(server(&scratch, Some(port)))
        .await
        .expect("it starts again");
    let started = load.started.len();
    while load.started.len() == started {
        under_load(&platform, &mut load, user, &mut memory, Duration::from_millis(50)).await;
    }
    let resumed = back.elapsed();
    under_load(&platform, &mut load, user, &mut memory, AROUND).await;

    load.ended(&platform).await;
    platform.assert_conserved().await;
    let all = ended(platform.sql()).await;
    eventually(LONG, || async {
        let heard: BTreeSet<String> = listener.heard().await.into_iter().collect();
        let missing = all
            .difference(&before)
            .filter(|saga| !heard.contains(*saga))
            .count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} of {} not heard", all.len()))
        }
    })
    .await;
    let heard = listener.heard().await;
    let distinct: BTreeSet<&String> = heard.iter().collect();
    assert_eq!(distinct.len(), heard.len(), "the end of a saga was applied twice");
    eprintln!(
        "{} tasks, {without} of them started without RabbitMQ; first task {resumed:?} after Postgres came back; \
         the orchestrator grew by {} KiB",
        load.started.len(),
        memory.grown() / 1024
    );
    assert!(without > 0, "nothing was done without RabbitMQ");
    assert!(
        memory.grown() < MEMORY_GROWTH_BYTES,
        "it grew by {} bytes",
        memory.grown()
    );
    listener.stop.cancel();
    drop(platform);
    postgres.stop().await;
}
