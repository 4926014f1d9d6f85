//! `evenkeel kms`.

mod file;
mod rewrap;

use std::path::PathBuf;

use clap::Subcommand;

use crate::exit::{Code, Failure};
use crate::wiring::{sealing, settings};

/// Seals files, and moves what is sealed to a new key
///
/// Keys are those of the servers: settings `kms.*`, else kms.json in the directory of keys (--keys). `evenkeel keys kms-file`
/// makes that file and changes its key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel kms seal wechat.key.pem --out /etc/evenkeel/wechat.key.pem
  evenkeel kms rewrap --dry-run
  evenkeel kms rewrap --file /etc/evenkeel/wechat.key.pem")]
pub(crate) struct Args {
    /// Settings as the servers have them, as TOML
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Seal(file::Args),
    Rewrap(rewrap::Args),
}

/// Runs one `evenkeel kms` command.
pub(crate) async fn run(args: Args, keys: Option<PathBuf>) -> Result<Code, Failure> {
    let mut settings = settings::load(args.config.as_deref())?;
    if let Some(keys) = keys {
        settings.identity.keys = keys;
    }
    let kms = sealing::open(&settings)?;
    match args.verb {
        Verb::Seal(args) => file::seal(args, &kms).await,
        Verb::Rewrap(args) => rewrap::run(args, &kms).await,
    }
}

/// Why something was not sealed or opened.
fn failed(what: &str, error: &kms::Error) -> Failure {
    let failure = match error {
        kms::Error::Unavailable(_) => Failure::unavailable(what),
        kms::Error::Refused(_)
        | kms::Error::NoKey(_)
        | kms::Error::Damaged
        | kms::Error::TooLarge
        | kms::Error::Place
        | kms::Error::Random => Failure::new(Code::Failed, what),
    };
    failure.because(error)
}
