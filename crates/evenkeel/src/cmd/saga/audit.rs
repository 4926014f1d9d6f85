//! `evenkeel saga audit`.

use chrono::Utc;
use proto::saga::v1::{ListAuditRequest, ListAuditResponse};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;

/// Shows what operators did, newest first: who, when, why, and on which state
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga audit
  evenkeel saga audit --saga saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga audit --actor 'ann (cli)' --all -o jsonl")]
pub(super) struct Args {
    /// Only actions on this saga
    #[arg(long = "saga", value_name = "SAGA")]
    saga_id: Option<String>,
    /// Only actions of this person or program
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only actions on this type, or on its sagas
    #[arg(long = "type", value_name = "NAME")]
    saga_type: Option<String>,
    /// Entries a page, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
    limit: u32,
    /// Goes on where the page before ended
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    page_token: Option<String>,
    /// Prints every page
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let mut request = ListAuditRequest {
        page_size: args.limit,
        page_token: args.page_token.unwrap_or_default(),
        saga_id: args.saga_id.unwrap_or_default(),
        actor: args.actor.unwrap_or_default(),
        r#type: args.saga_type.unwrap_or_default(),
    };
    let mut seen = Vec::new();
    loop {
        let call = client::request(request.clone(), CALL_TIMEOUT);
        let mut page = match session.operators.list_audit(call).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(session.failure(&status)),
        };
        if args.all && session.format == Format::Json {
            // One document, whatever the pages.
            seen.append(&mut page.entries);
            if !page.next_page_token.is_empty() {
                request.page_token = page.next_page_token;
                continue;
            }
            page.entries = std::mem::take(&mut seen);
        }
        print(&session, &page)?;
        if page.next_page_token.is_empty() {
            return Ok(Code::Ok);
        }
        if !args.all {
            if session.format != Format::Json {
                output::remark(&format!("there are more: --page-token {}", page.next_page_token));
            }
            return Ok(Code::Ok);
        }
        request.page_token = page.next_page_token;
    }
}

fn print(session: &Session, page: &ListAuditResponse) -> Result<(), Failure> {
    if session.format == Format::Jsonl {
        let lines = page
            .entries
            .iter()
            .map(|entry| format!("{}\n", proto_json::value("evenkeel.saga.v1.AuditEntry", entry)));
        return output::emit(&lines.collect::<String>());
    }
    session.print("evenkeel.saga.v1.ListAuditResponse", page, |colour| {
        render::audit::list(&page.entries, Utc::now()).render(colour)
    })
}
