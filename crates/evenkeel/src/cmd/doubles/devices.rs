//! `evenkeel doubles devices`.

use std::net::SocketAddr;
use std::path::PathBuf;

use ::doubles::allocator::{self, MAX_DEVICES, Options};
use process::Supervisor;

use super::started::Started;
use super::{Common, cannot_listen, program};
use crate::exit::{Code, Failure};
use crate::wiring::{devices, events, services, settings};

/// Connections of the allocator: one for each handler, one for the relay, one for who looks at the books.
const CONNECTIONS: u32 = 6;

/// Runs an allocator of devices, which answers `device.allocate.requested` and `device.release` by events
///
/// It uses the broker and the database of the settings (--config, DATABASE_URL, AMQP_URL), and a schema of its own,
/// `doubles`, which it makes; so it needs the right to create schemas. Not for a database with a real device service: both
/// would answer. `evenkeel dev` runs one of its own, but for `evenkeel dev --no-devices`. `GET /_books` shows what it allocated; `PUT /_program` tells it how to misbehave.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  DATABASE_URL='postgres://evenkeel@127.0.0.1:5432/evenkeel' evenkeel doubles devices      beside `evenkeel serve`
  evenkeel doubles devices --config evenkeel.toml --devices 3
  curl -X PUT http://127.0.0.1:7136/_program -H 'content-type: application/json' \\
       -d '[{\"on\": \"allocate\", \"times\": 1, \"delay_ms\": 5000, \"do\": {\"duplicate\": 2}}]'")]
pub(super) struct Args {
    /// Address to listen on for programme and books; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7136", value_name = "ADDR")]
    listen: SocketAddr,
    /// How many devices there are
    #[arg(long, default_value_t = Options::default().devices, value_name = "N",
          value_parser = clap::value_parser!(i32).range(0..=i64::from(MAX_DEVICES)))]
    devices: i32,
    /// Settings as TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let program = program::read(args.common.program.as_deref(), allocator::check)?;
    let mut settings = settings::load(args.config.as_deref())?;
    if settings.database.url.is_empty() {
        return Err(Failure::config("no database is configured")
            .next("set DATABASE_URL; that of `evenkeel dev` is in its first lines"));
    }
    "doubles".clone_into(&mut settings.telemetry.service);
    let telemetry = telemetry::init(&settings.telemetry)
        .map_err(|error| Failure::config("the telemetry settings are wrong").because(&error))?;
    let shutdown = process::Shutdown::on_signals(settings.drain)
        .map_err(|error| Failure::unavailable("cannot wait for signals").because(&error))?;
    let supervisor = Supervisor::new(shutdown);
    let pool = devices::open(&settings, CONNECTIONS).await?;
    let broker = events::open(&settings, &supervisor).await?;
    let options = Options {
        devices: args.devices,
        program,
    };
    let mut allocator = allocator::start(&broker, &pool, options)
        .await
        .map_err(|error| Failure::unavailable("the allocator cannot start").because(&error))?;
    let addr = allocator
        .listen(args.listen)
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    Started::new("devices", "Device allocator", format!("http://{addr}"))
        .with("broker", broker.kind())
        .tell(args.common.json)?;
    let ended = supervisor.wait().await;
    devices::stop(allocator, &settings).await;
    telemetry.shutdown().await;
    ended.map_err(services::ended)?;
    Ok(Code::Ok)
}
