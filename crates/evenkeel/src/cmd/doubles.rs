//! `evenkeel doubles`: outside providers that are not outside, for development and tests.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use doubles::ai;

use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::output;

/// Runs doubles of outside providers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evenkeel doubles ai --listen 127.0.0.1:7120")]
pub(crate) struct Args {
    #[command(subcommand)]
    double: Double,
}

#[derive(Debug, Subcommand)]
enum Double {
    /// Runs a text-generation provider over HTTP until Ctrl-C
    ///
    /// `POST /v1/generate {"prompt": ".."}` answers; `PUT /_program` tells it how to misbehave; `GET /_books` shows
    /// every request it received and every effect it had.
    #[command(after_help = "Examples:
  evenkeel doubles ai
  evenkeel doubles ai --listen 127.0.0.1:0 --program program.json
  curl -X PUT http://127.0.0.1:7120/_program -H 'content-type: application/json' \\
       -d '[{\"prompt_contains\": \"poem\", \"times\": 2, \"do\": {\"status\": {\"code\": 503}}}]'")]
    Ai {
        /// Address to listen on; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:7120", value_name = "ADDR")]
        listen: SocketAddr,
        /// Rules as JSON, in the form that `PUT /_program` takes
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
}

/// Runs one `evenkeel doubles` command.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let Double::Ai { listen, program } = args.double;
    let rules = match program {
        None => Vec::new(),
        Some(path) => serde_json::from_str(&input::file_text(&path)?).map_err(|error| {
            Failure::new(Code::Usage, format!("{} is not a programme", path.display())).because(&error)
        })?,
    };
    let provider = ai::start(listen)
        .await
        .map_err(|error| Failure::unavailable(format!("cannot listen on {listen}")).because(&error))?;
    provider.program(rules);
    output::emit(&format!("AI provider double on {}\n", provider.url()))?;
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| Failure::unavailable("cannot wait for Ctrl-C").because(&error))?;
    Ok(Code::Ok)
}
