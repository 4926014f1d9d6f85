//! `evenkeel saga definitions`.

use chrono::Utc;
use proto::saga::v1::{ListDefinitionsRequest, ListDefinitionsResponse};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// More definitions than this are cut off in one listing, so that a defect cannot make it endless.
const MAX_PAGES: usize = 100;

/// Lists registered definitions, with their steps and the type of their input
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga definitions
  evenkeel saga definitions TASK_RUN -o json")]
pub(super) struct Args {
    /// Only definitions of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let mut request = ListDefinitionsRequest {
        name: args.name.unwrap_or_default(),
        ..ListDefinitionsRequest::default()
    };
    let mut all = ListDefinitionsResponse::default();
    for _ in 0..MAX_PAGES {
        let page = match session
            .sagas
            .list_definitions(client::request(request.clone(), CALL_TIMEOUT))
            .await
        {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(session.failure(&status)),
        };
        all.definitions.extend(page.definitions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    session.print("evenkeel.saga.v1.ListDefinitionsResponse", &all, |colour| {
        render::definition::list(&all.definitions, Utc::now()).render(colour)
    })?;
    Ok(Code::Ok)
}
