//! `evenkeel billing notifies`.

use chrono::Utc;
use clap::{Subcommand, ValueEnum};
use proto::billing::v1::ListNotifyReceiptsRequest;

use super::{Desk, Page, Provider, number_of};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// Notifications of payment providers, as they came
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists deliveries, newest first, with what became of each: why was this notification refused?
    #[command(after_help = "Examples:
  evenkeel billing notifies list --outcome refused
  evenkeel billing notifies list --number PAY20261121000001 -o json")]
    List {
        /// Those of one provider
        #[arg(long, value_enum)]
        channel: Option<Provider>,
        /// Those that ended so
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        /// Those about one of our numbers
        #[arg(long, default_value = "", hide_default_value = true, value_name = "NUMBER")]
        number: String,
        #[command(flatten)]
        page: Page,
    },
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Taken,
    Duplicate,
    Refused,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "TAKEN",
            Self::Duplicate => "DUPLICATE",
            Self::Refused => "REFUSED",
        }
    }
}

/// Runs one `evenkeel billing notifies` command.
pub(super) async fn run(args: Args, desk: &mut Desk) -> Result<Code, Failure> {
    let Verb::List {
        channel,
        outcome,
        number,
        page,
    } = args.verb;
    let request = ListNotifyReceiptsRequest {
        channel: number_of(channel),
        outcome: outcome.map_or("", Outcome::name).to_owned(),
        number,
        page_size: page.limit,
        page_token: page.page_token,
    };
    let call = client::request(request, CALL_TIMEOUT);
    let answer = desk.client.list_notify_receipts(call).await;
    let answer = answer.map_err(desk.failed())?.into_inner();
    let kind = "evenkeel.billing.v1.ListNotifyReceiptsResponse";
    desk.print(kind, &answer, |colour| {
        render::desk::receipts(&answer.receipts, Utc::now()).render(colour)
    })?;
    desk.more(&answer.next_page_token);
    Ok(Code::Ok)
}
