//! `evenkeel doubles sms`.

use std::net::SocketAddr;

use ::doubles::sms::{self, Account};

use super::keys::KeysDir;
use super::started::Started;
use super::{Common, cannot_listen, keys, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs Tencent Cloud SMS, API 3.0: SendSms
///
/// It checks the signature of each request. `GET /_books` shows the messages with their codes; `PUT /_program` says what
/// becomes of the next requests, one each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles sms
  source .evenkeel/doubles/sms.env            # in the shell of `evenkeel serve auth`
  curl http://127.0.0.1:7133/_books
  curl -X PUT http://127.0.0.1:7133/_program -H 'content-type: application/json' -d '[\"hang\", {\"status\": 503}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7133", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    keys_dir: KeysDir,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let next = program::read(args.common.program.as_deref(), sms::check)?;
    let dir = args.keys_dir.path();
    let known = keys::open(&dir, Account::in_dir).await?;
    let shutdown = on_signals()?;
    let double = sms::resume(args.listen, known.clone())
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    double.program(next);
    Started::new("sms", "SMS", double.url())
        .with_variables(&dir, known.environment(&double.url()))?
        .tell(args.common.json)?;
    shutdown.requested().await;
    Ok(Code::Ok)
}
