//! `evenkeel billing cases`.

use chrono::Utc;
use clap::{Subcommand, ValueEnum};
use proto::billing::v1::{Case, ListCasesRequest, ResolveCaseRequest, Settlement};

use super::{Desk, Page};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// Cases: what could not be settled automatically
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists cases, newest first
    #[command(after_help = "Examples:
  evenkeel billing cases list
  evenkeel billing cases list --all -o json | jq '.cases[] | select(.kind == \"UNKNOWN_OUTCOME\")'")]
    List {
        /// Resolved ones as well
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Shows one case
    #[command(after_help = "Example:
  evenkeel billing cases show case_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b")]
    Show {
        /// Id of the case
        case: String,
    },
    /// Closes a case with a note, and settles what it is about if the outcome was learned
    ///
    /// Without --settlement the provider is asked on, and there is a new case if it does not answer for as long again.
    #[command(after_help = "Examples:
  evenkeel billing cases resolve case_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --note 'they are at it'
  evenkeel billing cases resolve case_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --settlement failed --note 'ticket 4711: never sent'")]
    Resolve {
        /// Id of the case
        case: String,
        /// Who decided what, and why; 1 to 1,000 characters
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// What the provider has told: the money moved, or it did not and will not
        #[arg(long, value_enum)]
        settlement: Option<Outcome>,
    },
}

/// What was learned of a refund or a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Succeeded,
    Failed,
}

/// Runs one `evenkeel billing cases` command.
pub(super) async fn run(args: Args, desk: &mut Desk) -> Result<Code, Failure> {
    match args.verb {
        Verb::List { all, page } => {
            let request = ListCasesRequest {
                include_resolved: all,
                page_size: page.limit,
                page_token: page.page_token,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = desk.client.list_cases(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            desk.print("evenkeel.billing.v1.ListCasesResponse", &answer, |colour| {
                render::desk::cases(&answer.cases, Utc::now()).render(colour)
            })?;
            desk.more(&answer.next_page_token);
        }
        Verb::Show { case } => {
            let found = find(desk, &case).await?;
            desk.print("evenkeel.billing.v1.Case", &found, |colour| {
                render::desk::case(&found, Utc::now()).render(colour)
            })?;
        }
        Verb::Resolve {
            case,
            note,
            settlement,
        } => {
            let settlement = match settlement {
                None => Settlement::Unspecified,
                Some(Outcome::Succeeded) => Settlement::Succeeded,
                Some(Outcome::Failed) => Settlement::Failed,
            };
            let request = ResolveCaseRequest {
                case_id: case,
                settlement: settlement.into(),
                note,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = desk.client.resolve_case(call).await;
            let answer = answer.map_err(desk.failed())?.into_inner();
            let resolved = answer.case.unwrap_or_default();
            desk.print("evenkeel.billing.v1.Case", &resolved, |colour| {
                render::desk::case(&resolved, Utc::now()).render(colour)
            })?;
        }
    }
    Ok(Code::Ok)
}

/// Looks a case up in the list, page by page: there is no method for one alone.
async fn find(desk: &mut Desk, id: &str) -> Result<Case, Failure> {
    let mut page_token = String::new();
    loop {
        let request = ListCasesRequest {
            include_resolved: true,
            page_size: 500,
            page_token,
        };
        let call = client::request(request, CALL_TIMEOUT);
        let answer = desk.client.list_cases(call).await;
        let answer = answer.map_err(desk.failed())?.into_inner();
        if let Some(found) = answer.cases.into_iter().find(|case| case.case_id == id) {
            return Ok(found);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Err(
                Failure::new(Code::Failed, format!("CASE_NOT_FOUND: there is no case {id}"))
                    .next("find it with `evenkeel billing cases list --all`"),
            );
        }
    }
}
