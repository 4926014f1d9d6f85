//! `evenkeel saga why`.

use chrono::Utc;

use super::Session;
use super::show::Which;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::render;

/// Says why a saga has not ended: what is retrying, what it waits for, and what you may do
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga why saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga why --type TASK_RUN --business-id task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b -o json")]
pub(super) struct Args {
    #[command(flatten)]
    saga: Which,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let request = client::request(args.saga.request(false), CALL_TIMEOUT);
    let saga = match session.sagas.get_saga(request).await {
        Ok(response) => response.into_inner().saga.unwrap_or_default(),
        Err(status) => return Err(session.failure(&status)),
    };
    match session.format {
        Format::Table => output::emit(&render::why::text(&saga, Utc::now(), session.colour))?,
        Format::Json => output::emit(&format!("{:#}\n", render::why::json(&saga)))?,
        Format::Jsonl => output::emit(&format!("{}\n", render::why::json(&saga)))?,
    }
    Ok(Code::Ok)
}
