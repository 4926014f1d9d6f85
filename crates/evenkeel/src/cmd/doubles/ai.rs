//! `evenkeel doubles ai`.

use std::net::SocketAddr;

use ::doubles::ai;

use super::started::Started;
use super::{Common, cannot_listen, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs a text-generation provider over HTTP
///
/// `POST /v1/generate {"prompt": ".."}` answers; `PUT /_program` tells it how to misbehave; `GET /_books` shows every request
/// it received and every effect it had.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles ai
  evenkeel doubles ai --listen 127.0.0.1:0 --program program.json
  curl -X PUT http://127.0.0.1:7120/_program -H 'content-type: application/json' \\
       -d '[{\"prompt_contains\": \"poem\", \"times\": 2, \"do\": {\"status\": {\"code\": 503}}}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7120", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let rules = program::read(args.common.program.as_deref(), ai::check)?;
    let shutdown = on_signals()?;
    let provider = ai::start(args.listen)
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    provider.program(rules);
    Started::new("ai", "AI provider", provider.url()).tell(args.common.json)?;
    shutdown.requested().await;
    Ok(Code::Ok)
}
