//! `evenkeel bench`: numbers, beside what they are to be compared with, in one run.

mod backend;
mod baseline;
mod billing;
mod calls;
mod events;
mod gateway;
mod load;
mod measure;
mod participant;
mod platform;
mod redis;
mod repeat;
mod report;
mod run;
mod shop;
mod waiting;
mod watch;
mod watcher;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;

use crate::exit::{Code, Failure};
use load::{Engine, Latency, Participants, Variant};
use report::Printing;

/// Measures throughput and latency
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  evenkeel bench sagas --concurrency 1,32 --seconds 5\n  evenkeel bench gateway"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Sagas(SagasArgs),
    Gateway(GatewayArgs),
    Billing(BillingArgs),
    Watch(WatchArgs),
    Waiting(WaitingArgs),
    /// Repeats a request with an Idempotency-Key in every way that matters, on a platform of its own
    ///
    /// Exits with 1 if a promise of docs/idempotency.md is broken.
    #[command(after_help = "Example:\n  evenkeel bench repeat")]
    Repeat,
    /// Serves the participant of the benchmark; started by `bench sagas` as a process of its own
    #[command(
        hide = true,
        after_help = "Example:\n  evenkeel bench participant --listen 127.0.0.1:0"
    )]
    Participant {
        #[arg(long)]
        listen: SocketAddr,
        /// Keeps rows there, behind barriers
        #[arg(long)]
        database_url: Option<String>,
        /// Calls that come at the same time share transactions
        #[arg(long, requires = "database_url")]
        batched: bool,
    },
    /// Serves a balance after a fixed time; started by `bench gateway` as a process of its own
    #[command(
        hide = true,
        after_help = "Example:\n  evenkeel bench backend --listen 127.0.0.1:0 --delay-ms 20"
    )]
    Backend {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        delay_ms: u64,
    },
    /// Serves the baseline of the benchmark; started by `bench sagas` as a process of its own
    #[command(
        hide = true,
        after_help = "Example:\n  evenkeel bench baseline --listen 127.0.0.1:0 …"
    )]
    Baseline {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        database_url: String,
        #[arg(long)]
        participant: String,
    },
}

/// Runs four-step sagas as fast as they go: orchestrator, participant and load in processes of their own, a private
/// Postgres with fsync on
///
/// Beside it, in the same run, the usual design: one transaction before and one after each call. Numbers of different
/// runs or machines do not compare; the ratio within a run does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel bench sagas
  evenkeel bench sagas --concurrency 128 --seconds 30 --engine evenkeel --variant compensated
  evenkeel bench sagas --latency start --concurrency 32,100
  evenkeel bench sagas --slices 20 --seconds 30 --concurrency 128 --engine evenkeel --participants stateless --variant completed
  evenkeel bench sagas -o jsonl > bench.jsonl")]
pub(crate) struct SagasArgs {
    /// Sagas at a time
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,32,128,512",
        value_name = "N,N,…"
    )]
    concurrency: Vec<usize>,
    /// Measured time of each row, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Time before it that is not measured, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,
    /// What to measure; both if not given
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// What is behind the steps; stateless and barrier if not given
    #[arg(long, value_enum)]
    participants: Option<Participants>,
    /// How the sagas end; both if not given
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Size of the payload that every step gets and returns, in bytes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    payload_bytes: u32,
    /// Measures each row so many times in a row, to show whether what has finished slows down what follows
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    slices: u32,
    /// What P50 and P99 are the latency of; `start` measures Evenkeel only
    #[arg(long, value_enum, default_value = "end")]
    latency: Latency,
    #[command(flatten)]
    printing: Printing,
}

impl SagasArgs {
    const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    const fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Measures what the gateway adds to a call, and an Idempotency-Key to a request: services and gateway in processes of
/// their own, a private Postgres with fsync on, a private Redis
///
/// The ways that are compared are called in turn by the same workers, so that both see the same machine at the same moment.
/// What counts is the difference within a run. As fast as they are answered, all workers wait for the processors; the time
/// that the gateway adds to a call shows at a pace that leaves some of them free, and with a service that takes its time:
/// then every worker has a call under way all the time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel bench gateway
  evenkeel bench gateway --concurrency 100 --rate 200,1000 --seconds 30
  evenkeel bench gateway -o jsonl > gateway.jsonl")]
pub(crate) struct GatewayArgs {
    /// Workers, each with a connection and a user of its own
    #[arg(long, default_value_t = 32, value_name = "N")]
    concurrency: usize,
    /// Calls a second of each way; 0: each worker calls again as soon as it is answered
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "300,0",
        value_name = "N,N,…",
        value_parser = clap::value_parser!(u32).range(0..=100_000)
    )]
    rate: Vec<u32>,
    /// Time that the service of the second case takes to answer, in milliseconds: it keeps every worker waiting and no
    /// processor busy
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    backend_ms: u64,
    /// Measured time of each row, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Time before it that is not measured, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,
    /// A Redis that may be used; without one a private redis-server is started, if there is one on the PATH
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<String>,
    #[command(flatten)]
    printing: Printing,
}

impl GatewayArgs {
    const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    const fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Measures how long those are kept who want money back, and how many notifications of a provider are applied a second
///
/// Billing, quota, orchestrator and gateway are processes of their own, on a private Postgres with fsync on; the double of
/// WeChat Pay runs beside the load. Each refund and each payment is a saga that runs to its end at the same time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel bench billing
  evenkeel bench billing --concurrency 8 --notifies 100 --seconds 30
  evenkeel bench billing -o jsonl > billing.jsonl")]
pub(crate) struct BillingArgs {
    /// Users who want money back at a time; each waits for the end of its refund before the next
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    concurrency: usize,
    /// Payments made a second, each of which the provider tells of
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    notifies: u32,
    /// Measured time of each row, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Time before the refunds that is not measured, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,
    #[command(flatten)]
    printing: Printing,
}

impl BillingArgs {
    const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    const fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Opens many WebSockets through a gateway and writes events: every one must come once, also to those who go away and come
/// back
///
/// Gateway and task service are processes of their own, on a private Postgres with fsync on. Exits with 1 if an event is
/// lost or comes twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel bench watch
  evenkeel bench watch --sockets 500 --users 500 --events 50 --seconds 10
  evenkeel bench watch -o json > watch.json")]
pub(crate) struct WatchArgs {
    /// WebSockets open at once
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=50_000))]
    sockets: usize,
    /// Users that they belong to, at most 10 to each
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=50_000))]
    users: usize,
    /// Events written a second, for one user after another; each goes to all sockets of its user
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    events: u32,
    /// Sockets that break off without a word and come back, a second
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    reconnects: u32,
    /// Time in which events are written, in seconds; after that what is on its way may still come
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3000))]
    seconds: u64,
    #[command(flatten)]
    printing: Printing,
}

/// Measures what sagas cost that only wait: memory of the orchestrator for each, and its processor time for all
///
/// Orchestrator and participant are processes of their own, on a private Postgres with fsync on. Memory is what the process
/// has resident, before and after.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel bench waiting
  evenkeel bench waiting --sagas 10000 --seconds 5
  evenkeel bench waiting -o json > waiting.json")]
pub(crate) struct WaitingArgs {
    /// Sagas that wait
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=150_000))]
    sagas: usize,
    /// Time in which processor time is measured, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[command(flatten)]
    printing: Printing,
}

/// Rounds for people who read JSON.
fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Runs one `evenkeel bench` command.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    match args.what {
        What::Sagas(args) => run::sagas(&args).await?,
        What::Gateway(args) => gateway::run(&args).await?,
        What::Waiting(args) => waiting::run(&args).await?,
        What::Billing(args) => billing::run(&args).await?,
        What::Watch(args) => {
            if !watch::run(&args).await? {
                return Ok(Code::Failed);
            }
        }
        What::Repeat => {
            if !repeat::run().await? {
                return Ok(Code::Failed);
            }
        }
        What::Participant {
            listen,
            database_url,
            batched,
        } => {
            participant::serve(listen, database_url.as_deref(), batched).await?;
        }
        What::Backend { listen, delay_ms } => {
            backend::serve(listen, Duration::from_millis(delay_ms)).await?;
        }
        What::Baseline {
            listen,
            database_url,
            participant,
        } => {
            baseline::serve(listen, &database_url, &participant).await?;
        }
    }
    Ok(Code::Ok)
}
