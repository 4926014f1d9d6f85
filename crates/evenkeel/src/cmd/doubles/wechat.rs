//! `evenkeel doubles wechat`.

use std::net::SocketAddr;

use ::doubles::wechat::{self, App};

use super::keys::KeysDir;
use super::started::Started;
use super::{Common, cannot_listen, keys, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs WeChat's login of mini programs: code2Session
///
/// `POST /_codes {"openid": ".."}` makes a code, as when a person opens the mini program; it is good once. `PUT /_program`
/// says what becomes of the next requests, one each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles wechat
  source .evenkeel/doubles/wechat.env         # in the shell of `evenkeel serve auth`
  curl -X POST http://127.0.0.1:7134/_codes -H 'content-type: application/json' -d '{\"openid\": \"o-ada\"}'
  curl -X PUT http://127.0.0.1:7134/_program -H 'content-type: application/json' -d '[{\"code\": 45011}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7134", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    keys_dir: KeysDir,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let next = program::read(args.common.program.as_deref(), wechat::check)?;
    let dir = args.keys_dir.path();
    let known = keys::open(&dir, App::in_dir).await?;
    let shutdown = on_signals()?;
    let double = wechat::resume(args.listen, known.clone())
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    double.program(next);
    Started::new("wechat", "WeChat login", double.url())
        .with_variables(&dir, known.environment(&double.url()))?
        .tell(args.common.json)?;
    shutdown.requested().await;
    Ok(Code::Ok)
}
