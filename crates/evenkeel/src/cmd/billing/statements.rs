//! `evenkeel billing statements`.

use std::time::Duration;

use chrono::Utc;
use clap::Subcommand;
use proto::billing::v1::{
    Channel, ImportStatementRequest, ListDifferencesRequest, ListStatementsRequest, ResolveDifferenceRequest,
};

use super::{Desk, Page, Provider, number_of};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// A statement is fetched from the provider and compared line by line.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(120);

/// Statements of payment providers, and where they differ from our books
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists statements, newest day first
    #[command(after_help = "Example:
  evenkeel billing statements list --channel wechat")]
    List {
        /// Those of one provider
        #[arg(long, value_enum)]
        channel: Option<Provider>,
        #[command(flatten)]
        page: Page,
    },
    /// Fetches the statement of a day and compares it; may be repeated
    #[command(after_help = "Example:
  evenkeel billing statements import wechat 2026-11-20")]
    Import {
        /// Whose
        #[arg(value_enum)]
        channel: Provider,
        /// The day, YYYY-MM-DD in Beijing; it must have passed
        day: String,
    },
    /// Lists what differs, newest first
    #[command(after_help = "Examples:
  evenkeel billing statements differences
  evenkeel billing statements differences --all --channel alipay -o json")]
    Differences {
        /// Those of one provider
        #[arg(long, value_enum)]
        channel: Option<Provider>,
        /// Explained ones as well
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Marks a difference as explained
    #[command(after_help = "Example:
  evenkeel billing statements explain difference_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --note 'paid a minute before midnight'")]
    Explain {
        /// Id of the difference
        difference: String,
        /// The explanation, 1 to 1,000 characters
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

/// Runs one `evenkeel billing statements` command.
pub(super) async fn run(args: Args, desk: &mut Desk) -> Result<Code, Failure> {
    match args.verb {
        Verb::List { channel, page } => {
            let request = ListStatementsRequest {
                channel: number_of(channel),
                page_size: page.limit,
                page_token: page.page_token,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = desk.client.list_statements(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            desk.print("evenkeel.billing.v1.ListStatementsResponse", &answer, |colour| {
                render::desk::statements(&answer.statements, Utc::now()).render(colour)
            })?;
            desk.more(&answer.next_page_token);
        }
        Verb::Import { channel, day } => {
            let request = ImportStatementRequest {
                channel: Channel::from(channel).into(),
                day,
            };
            let call = client::request(request, IMPORT_TIMEOUT);
            let answer = desk.client.import_statement(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            let made = answer.statement.unwrap_or_default();
            desk.print("evenkeel.billing.v1.Statement", &made, |colour| {
                render::desk::statements(std::slice::from_ref(&made), Utc::now()).render(colour)
            })?;
        }
        Verb::Differences { channel, all, page } => {
            let request = ListDifferencesRequest {
                channel: number_of(channel),
                include_resolved: all,
                page_size: page.limit,
                page_token: page.page_token,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = desk.client.list_differences(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            desk.print("evenkeel.billing.v1.ListDifferencesResponse", &answer, |colour| {
                render::desk::differences(&answer.differences).render(colour)
            })?;
            desk.more(&answer.next_page_token);
        }
        Verb::Explain { difference, note } => {
            let request = ResolveDifferenceRequest {
                difference_id: difference,
                note,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = desk.client.resolve_difference(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            let explained = answer.difference.unwrap_or_default();
            desk.print("evenkeel.billing.v1.Difference", &explained, |colour| {
                render::desk::differences(std::slice::from_ref(&explained)).render(colour)
            })?;
        }
    }
    Ok(Code::Ok)
}
