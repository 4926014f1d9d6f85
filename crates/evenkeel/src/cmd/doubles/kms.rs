//! `evenkeel doubles kms`.

use std::net::SocketAddr;

use ::doubles::kms::{self, Identity};

use super::keys::KeysDir;
use super::started::Started;
use super::{Common, cannot_listen, keys, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs Tencent Cloud's key management service, API 3.0: GenerateDataKey, Encrypt, Decrypt, ReEncrypt, DescribeKey
///
/// It checks the signature of each request, and really encrypts under master keys that it keeps in --keys-dir: what was sealed
/// before a restart opens after it. `POST /_keys` makes a further master key, `POST /_keys/ID/rotate`, `/disable` and `/enable`
/// change one; `GET /_books` shows the calls, and never a plaintext.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles kms
  source .evenkeel/doubles/kms.env            # in the shell of `evenkeel serve billing`
  curl http://127.0.0.1:7135/_books
  curl -X POST http://127.0.0.1:7135/_keys/$KMS_KEY_ID/disable
  curl -X PUT http://127.0.0.1:7135/_program -H 'content-type: application/json' -d '[\"hang\", {\"status\": 503}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7135", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    keys_dir: KeysDir,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let next = program::read(args.common.program.as_deref(), kms::check)?;
    let dir = args.keys_dir.path();
    let known = keys::open(&dir, Identity::in_dir).await?;
    let shutdown = on_signals()?;
    let double = kms::resume(args.listen, known.clone())
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    double.program(next);
    Started::new("kms", "KMS", double.url())
        .with_variables(&dir, known.environment(&double.url()))?
        .tell(args.common.json)?;
    shutdown.requested().await;
    Ok(Code::Ok)
}
