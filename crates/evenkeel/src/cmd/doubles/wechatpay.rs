//! `evenkeel doubles wechatpay`.

use std::net::SocketAddr;

use ::doubles::{pay, wechatpay};

use super::keys::KeysDir;
use super::started::Started;
use super::{Common, Paying, books, cannot_listen, keys, on_signals, program};
use crate::exit::{Code, Failure};

/// Runs WeChat Pay, API v3: Native payments, refunds, transfers, bills, notifications
///
/// It signs with keys of its own, and checks the merchant's signature. Code URLs lead to pages whose button pays; `GET /` lists
/// them. `GET /_books` and `/_totals` show what happened; `PUT /_program` tells it how to misbehave.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doubles wechatpay --keys-dir .evenkeel/doubles --books .evenkeel/doubles/wechatpay-books.json
  source .evenkeel/doubles/wechatpay.env      # in the shell of the service that is to use it
  curl -X POST http://127.0.0.1:7131/_orders/PAY0001/pay
  curl -X PUT http://127.0.0.1:7131/_program -H 'content-type: application/json' \\
       -d '[{\"on\": \"notify_payment\", \"times\": 1, \"do\": {\"duplicate\": 3}}]'")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7131", value_name = "ADDR")]
    listen: SocketAddr,
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
    let keys = keys::open(&dir, wechatpay::Keys::in_dir).await?;
    let shutdown = on_signals()?;
    let double = wechatpay::resume(args.listen, args.paying.options(), &keys, kept)
        .await
        .map_err(|error| cannot_listen(args.listen, &error))?;
    double.program(rules);
    let merchant = double.merchant();
    let mut variables = keys::open(&dir, move |dir| merchant.write(dir)).await?;
    variables.push(("WECHAT_PAY_URL", double.url()));
    Started::new("wechatpay", "WeChat Pay", double.url())
        .with_variables(&dir, variables)?
        .with("payerPage", format!("{}/", double.url()))
        .tell(args.common.json)?;
    books::keep(args.paying.books, &shutdown, || double.books()).await?;
    Ok(Code::Ok)
}
