//! `evenkeel billing`: what the people who look after the money see and decide.

mod cases;
mod notifies;
mod statements;

use clap::{Subcommand, ValueEnum};
use proto::billing::v1::Channel;
use proto::billing::v1::desk_service_client::DeskServiceClient;

use crate::client;
use crate::exit::{Code, Failure};
use crate::identity::{self, Identity};
use crate::output::{self, Format};

/// Shows what could not be settled automatically, what providers told, and their statements
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel billing cases list
  evenkeel billing cases resolve case_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --settlement succeeded --note 'seen in their console'
  evenkeel billing notifies list --outcome refused
  evenkeel billing statements list --channel wechat")]
pub(crate) struct Args {
    /// URL of the billing service
    #[arg(
        long = "server",
        global = true,
        env = "EVENKEEL_BILLING_URL",
        default_value = "http://127.0.0.1:7105",
        value_name = "URL"
    )]
    url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Cases(cases::Args),
    Notifies(notifies::Args),
    Statements(statements::Args),
}

/// Which page of a list.
#[derive(Debug, clap::Args)]
struct Page {
    /// Lines a page, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
    limit: u32,
    /// Goes on where the page before ended
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
    page_token: String,
}

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    Wechat,
    Alipay,
}

impl From<Provider> for Channel {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Wechat => Self::Wechat,
            Provider::Alipay => Self::Alipay,
        }
    }
}

/// The service, and how its answers are printed.
struct Desk {
    client: DeskServiceClient<identity::Channel>,
    url: String,
    format: Format,
    colour: bool,
}

impl Desk {
    fn failed(&self) -> impl Fn(tonic::Status) -> Failure + '_ {
        |status| client::failure(&status, &self.url)
    }

    fn print<M: prost::Message>(
        &self,
        type_name: &str,
        answer: &M,
        table: impl FnOnce(bool) -> String,
    ) -> Result<(), Failure> {
        output::print(self.format, self.colour, type_name, answer, table)
    }

    /// Says how the next page is read, if there is one.
    fn more(&self, next_page_token: &str) {
        if self.format == Format::Table && !next_page_token.is_empty() {
            output::remark(&format!("there are more: --page-token {next_page_token}"));
        }
    }
}

/// The number that stands for any provider if none is named.
fn number_of(channel: Option<Provider>) -> i32 {
    channel.map_or(Channel::Unspecified, Channel::from).into()
}

/// Runs one `evenkeel billing` command.
pub(crate) async fn run(args: Args, identity: &Identity) -> Result<Code, Failure> {
    let mut desk = Desk {
        client: DeskServiceClient::new(identity.channel(&args.url, "billing")?),
        url: args.url,
        format: args.output,
        colour: output::colour(),
    };
    match args.verb {
        Verb::Cases(args) => cases::run(args, &mut desk).await,
        Verb::Notifies(args) => notifies::run(args, &mut desk).await,
        Verb::Statements(args) => statements::run(args, &mut desk).await,
    }
}
