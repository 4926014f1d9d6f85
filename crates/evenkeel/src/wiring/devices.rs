//! Whoever allocates devices, where nobody does: a double, in development.

use ::events::Broker;
use doubles::allocator::{self, Allocator, Options};
use process::{PoolConfig, pool};
use sqlx::PgPool;

use super::settings::{Settings, local, port};
use crate::exit::Failure;
use crate::output;

/// Distance of its port from the first port.
const PORT_OFFSET: u16 = 495;
/// Connections where all services share one small database: one for a handler, one for the relay, one for who looks at the
/// books.
const CONNECTIONS: u32 = 3;

/// Starts the double on the broker of this process. Returns where its programme and books are as well.
///
/// # Errors
/// The database does not answer, or the port is taken.
pub(crate) async fn start(
    settings: &Settings,
    broker: &Broker,
    base: u16,
) -> Result<(Allocator, String), Failure> {
    let pool = open(settings, CONNECTIONS).await?;
    let mut allocator = allocator::start(broker, &pool, Options::default())
        .await
        .map_err(|error| Failure::unavailable("the allocator of devices cannot start").because(&error))?;
    let address = local(port(base, PORT_OFFSET));
    let bound = allocator.listen(address).await.map_err(|error| {
        Failure::unavailable(format!("the allocator of devices cannot listen on {address}"))
            .because(&error)
            .next("choose other ports with --port-base (0 takes free ones)")
    })?;
    Ok((allocator, format!("http://{bound}")))
}

/// Brings the schemas up to date, and opens a pool on the allocator's.
///
/// # Errors
/// The database does not answer, or schemas cannot be made there.
pub(crate) async fn open(settings: &Settings, connections: u32) -> Result<PgPool, Failure> {
    let url = &settings.database.url;
    for (schema, migrator) in [
        (::events::SCHEMA, &::events::MIGRATOR),
        (allocator::SCHEMA, &allocator::MIGRATOR),
    ] {
        process::migrate::run(url, schema, migrator)
            .await
            .map_err(|error| Failure::unavailable(format!("cannot migrate {schema}")).because(&error))?;
    }
    let config = PoolConfig {
        min: 0,
        max: connections,
        ..settings.database.clone()
    };
    pool::connect("doubles", allocator::SCHEMA, &config)
        .await
        .map_err(|error| Failure::unavailable("the database does not answer").because(&error))
}

/// Waits for what is in hand, as long as the settings allow; what is left is done again at the next start.
pub(crate) async fn stop(allocator: Allocator, settings: &Settings) {
    if tokio::time::timeout(settings.drain, allocator.stop())
        .await
        .is_err()
    {
        output::remark(
            "the allocator of devices did not end in time; what is left is done at the next start",
        );
    }
}
