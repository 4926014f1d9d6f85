//! `evenkeel bench`: numbers, beside the usual design, in one run.

mod baseline;
mod load;
mod measure;
mod participant;
mod run;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;

use crate::exit::{Code, Failure};
use crate::output::Format;
use load::{Engine, Latency, Variant};

/// Measures throughput and latency
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evenkeel bench sagas --concurrency 1,32 --seconds 5")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Sagas(SagasArgs),
    /// Serves the participant of the benchmark; started by `bench sagas` as a process of its own
    #[command(
        hide = true,
        after_help = "Example:\n  evenkeel bench participant --listen 127.0.0.1:0"
    )]
    Participant {
        #[arg(long)]
        listen: SocketAddr,
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
    /// How the sagas end; both if not given
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Size of the payload that every step gets and returns, in bytes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    payload_bytes: u32,
    /// What P50 and P99 are the latency of; `start` measures Evenkeel only
    #[arg(long, value_enum, default_value = "end")]
    latency: Latency,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The same as `-o jsonl`
    #[arg(long, hide = true, conflicts_with = "output")]
    json: bool,
}

impl SagasArgs {
    const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    const fn format(&self) -> Format {
        if self.json { Format::Jsonl } else { self.output }
    }

    const fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Runs one `evenkeel bench` command.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    match args.what {
        What::Sagas(args) => run::sagas(&args).await?,
        What::Participant { listen } => participant::serve(listen).await?,
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
