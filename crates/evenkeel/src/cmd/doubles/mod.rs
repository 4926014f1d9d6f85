//! `evenkeel doubles`: outside providers that are not outside, for development and tests.

mod ai;
mod alipay;
mod books;
mod devices;
mod keys;
mod kms;
mod program;
mod sms;
mod started;
mod wechat;
mod wechatpay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::doubles::pay;
use clap::Subcommand;
use process::Shutdown;

use crate::exit::{Code, Failure};

/// Runs doubles of outside providers
///
/// Each is a server that speaks the provider's protocol, signs as it does, keeps books, and misbehaves as its programme says;
/// docs/doubles.md has all of it. Ctrl-C and SIGTERM end it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles wechatpay
  evenkeel doubles ai --listen 127.0.0.1:7120 --program program.json
  evenkeel doubles sms --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    double: Double,
}

#[derive(Debug, Subcommand)]
enum Double {
    Ai(ai::Args),
    Wechatpay(wechatpay::Args),
    Alipay(alipay::Args),
    Sms(sms::Args),
    Kms(kms::Args),
    Wechat(wechat::Args),
    Devices(devices::Args),
}

/// What every double can be told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Rules as JSON, in the form that `PUT /_program` takes; docs/doubles.md lists them
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Says where it runs, and what a service needs, as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What doubles of payment providers can be told besides.
#[derive(Debug, clap::Args)]
struct Paying {
    /// Keeps the books over a restart: read at the start if it is there, written within a second of a change and at the end
    ///
    /// What a kill -9 finds unwritten is forgotten. Refunds and notifications that were under way are not taken up again.
    #[arg(long, value_name = "FILE")]
    books: Option<PathBuf>,
    /// Milliseconds until a refund has arrived; Alipay's arrive at once
    #[arg(long, default_value_t = pay::Options::default().refund_ms, value_name = "MS")]
    refund_ms: u64,
    /// Factor on the provider's pauses between attempts to notify; 1 is the real thing
    #[arg(long, default_value_t = pay::Options::default().schedule_scale, value_parser = scale, value_name = "FACTOR")]
    schedule_scale: f64,
}

impl Paying {
    fn options(&self) -> pay::Options {
        pay::Options {
            schedule_scale: self.schedule_scale,
            refund_ms: self.refund_ms,
        }
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.0..=1_000.0).contains(&factor) => Ok(factor),
        Ok(_) | Err(_) => Err("want a number from 0 to 1000".to_owned()),
    }
}

/// Runs one `evenkeel doubles` command.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    match args.double {
        Double::Ai(args) => ai::run(args).await,
        Double::Wechatpay(args) => wechatpay::run(args).await,
        Double::Alipay(args) => alipay::run(args).await,
        Double::Sms(args) => sms::run(args).await,
        Double::Kms(args) => kms::run(args).await,
        Double::Wechat(args) => wechat::run(args).await,
        Double::Devices(args) => Box::pin(devices::run(args)).await,
    }
}

/// Watches for signals; call it before anybody is told that the double runs. A double has nothing to drain.
fn on_signals() -> Result<Shutdown, Failure> {
    Shutdown::on_signals(Duration::ZERO)
        .map_err(|error| Failure::unavailable("cannot wait for signals").because(&error))
}

fn cannot_listen(listen: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("cannot listen on {listen}"))
        .because(error)
        .next("choose another address with --listen; port 0 takes a free one")
}
