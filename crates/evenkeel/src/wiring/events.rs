//! The broker of a process: RabbitMQ where one is configured, else the Postgres queue.

use std::convert::Infallible;

use events::{Broker, Job};
use process::{PoolConfig, PoolGauge, Supervisor, pool};
use sqlx::PgPool;

use super::settings::Settings;
use crate::exit::Failure;

/// Connections of one broker: dead letters, and with the Postgres queue all publishing and consuming.
pub(crate) const CONNECTIONS: u32 = 4;

/// Opens the broker and begins to look after its dead letters. Waits for the database only: a RabbitMQ that is down is
/// waited for in the background.
///
/// # Errors
/// Wrong settings, or a database that does not answer.
pub(crate) async fn open(settings: &Settings, supervisor: &Supervisor) -> Result<Broker, Failure> {
    let wrong =
        |error: &dyn std::error::Error| Failure::config("the events settings are wrong").because(error);
    let pool = pool::connect("events", events::SCHEMA, &pool_config(settings))
        .await
        .map_err(|error| match error {
            pool::Error::Limits { .. } | pool::Error::Schema(_) | pool::Error::Url { .. } => wrong(&error),
            pool::Error::Connect { .. } => {
                Failure::unavailable("the database does not answer").because(&error)
            }
        })?;
    let broker = Broker::new(settings.events.clone(), pool.clone()).map_err(|error| wrong(&error))?;
    pool::spawn_report(PoolGauge::new("events", pool), pool::REPORT_INTERVAL, supervisor);
    run(broker.keeper(), supervisor);
    Ok(broker)
}

/// Begins to publish the outbox of a service. `facts` are topics that nobody needs to take.
pub(super) fn relay(
    broker: &Broker,
    service: &'static str,
    schema: &'static str,
    pool: PgPool,
    facts: &'static [&'static str],
    supervisor: &Supervisor,
) {
    let relay = events::Relay {
        service,
        schema,
        pool,
        facts,
    };
    run(broker.relay(relay).job, supervisor);
}

/// What the orchestrator needs for a broker of its own: it lives on a thread of its own.
pub(super) fn of_saga(settings: &Settings) -> saga::Events {
    saga::Events {
        config: settings.events.clone(),
        pool: pool_config(settings),
    }
}

fn pool_config(settings: &Settings) -> PoolConfig {
    PoolConfig {
        min: 0,
        max: CONNECTIONS,
        ..settings.database.clone()
    }
}

fn run(job: Job, supervisor: &Supervisor) {
    let stop = supervisor.shutdown().token();
    supervisor.spawn(job.name, async move {
        (job.run)(stop).await;
        Ok::<_, Infallible>(())
    });
}
