//! `evenkeel doubles alipay`.

use std::net::SocketAddr;

use ::doubles::{alipay, pay};

use super::keys::KeysDir;
use super::started::Started;
use super::{Common, Paying, books, cannot_listen, keys, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs Alipay: payments by QR code, refunds, transfers, bills, notifications
///
/// It signs with keys of its own, and checks the merchant's signature; services use its public key or its certificates. Code
/// URLs lead to pages whose button pays; `GET /` lists them. `GET /_books` and `/_totals` show what happened; `PUT /_program`
/// tells it how to misbehave.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles alipay --keys-dir .evenkeel/doubles --books .evenkeel/doubles/alipay-books.json
  source .evenkeel/doubles/alipay.env         # in the shell of the service that is to use it
  curl -X POST http://127.0.0.1:7132/_orders/PAY0001/pay
  curl -X PUT http://127.0.0.1:7132/_program -H 'content-type: application/json' \\
       -d '[{\"on\": \"refund\", \"times\": 2, \"do\": {\"status\": 503}, \"effect\": true}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7132", value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the ends of transfers are told: at Alipay a setting of the app (its gateway), not of the call
    #[arg(long, value_name = "URL")]
    notify_transfers: Option<String>,
    #[command(flatten)]
    keys_dir: KeysDir,
    #[command(flatten)]
    paying: Paying,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> Result<Code, Failure> {
    let rules = program::read(args.common.program.as_deref(), pay::check)?;
    let kept = books::read(args.paying.books.as_deref())?;
    let dir = args.keys_dir.path();
    let keys = keys::open(&dir, alipay::Keys::in_dir).await?;
    let shutdown = on_signals()?;
    let double = alipay::resume(args.listen, args.paying.options(), &keys, kept)
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    double.program(rules);
    if let Some(url) = &args.notify_transfers {
        double.tell_transfers_to(url);
    }
    let merchant = double.merchant();
    let mut variables = keys::open(&dir, move |dir| merchant.write(dir)).await?;
    variables.push(("ALIPAY_URL", double.url()));
    Started::new("alipay", "Alipay", double.base_url())
        .with_variables(&dir, variables)?
        .with("payerPage", format!("{}/", double.base_url()))
        .tell(args.common.json)?;
    books::keep(args.paying.books, &shutdown, || double.books()).await?;
    Ok(Code::Ok)
}
