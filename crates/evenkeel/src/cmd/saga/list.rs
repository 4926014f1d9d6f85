//! `evenkeel saga list`.

use std::time::Duration;

use chrono::Utc;
use clap::ValueEnum;
use proto::saga::v1::{ListSagasRequest, ListSagasResponse, SagaPhase};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;

/// Lists sagas, newest first, page by page
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga list --phase running --phase compensating
  evenkeel saga list --attention
  evenkeel saga list --retrying --step RESERVE_QUOTA --min-attempts 5
  evenkeel saga list --older-than 1h --phase running
  evenkeel saga list --type TASK_RUN --all -o jsonl | jq .sagaId")]
pub(super) struct Args {
    /// Only sagas of this type
    #[arg(long = "type", value_name = "NAME")]
    saga_type: Option<String>,
    /// Only sagas in this phase; may be repeated
    #[arg(long, value_enum)]
    phase: Vec<Phase>,
    /// Only sagas with this business id
    #[arg(long, value_name = "ID")]
    business_id: Option<String>,
    /// Only sagas that need attention
    #[arg(long)]
    attention: bool,
    /// Only unfinished sagas in which this step is open now
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only unfinished sagas in which the latest failure of an open operation is of this class
    #[arg(long, value_parser = ERROR_CLASSES, value_name = "CLASS")]
    error_class: Option<String>,
    /// Only unfinished sagas in which an open operation was tried at least so often
    #[arg(long, default_value_t = 0, value_name = "N")]
    min_attempts: u32,
    /// Only unfinished sagas in which an operation has failed and is tried again
    #[arg(long)]
    retrying: bool,
    /// Only sagas started at least so long ago
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    older_than: Option<Duration>,
    /// Sagas a page, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
    limit: u32,
    /// Goes on where the page before ended
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    page_token: Option<String>,
    /// Prints every page
    #[arg(long)]
    all: bool,
}

/// Classes of failures, as the API has them.
const ERROR_CLASSES: [&str; 5] = [
    "unknown",
    "unsent",
    "misconfigured",
    "cannot_be_refused",
    "not_seen",
];

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Phase {
    Running,
    Compensating,
    Completed,
    Compensated,
    Resolved,
}

impl From<Phase> for SagaPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Compensating => Self::Compensating,
            Phase::Completed => Self::Completed,
            Phase::Compensated => Self::Compensated,
            Phase::Resolved => Self::Resolved,
        }
    }
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let mut request = ListSagasRequest {
        page_size: args.limit,
        page_token: args.page_token.unwrap_or_default(),
        r#type: args.saga_type.unwrap_or_default(),
        phases: args
            .phase
            .iter()
            .map(|phase| SagaPhase::from(*phase).into())
            .collect(),
        business_id: args.business_id.unwrap_or_default(),
        needs_attention: args.attention,
        step: args.step.unwrap_or_default(),
        error_class: args.error_class.unwrap_or_default(),
        min_attempts: args.min_attempts,
        retrying: args.retrying,
        older_than: args
            .older_than
            .map(prost_types::Duration::try_from)
            .transpose()
            .map_err(|error| Failure::new(Code::Usage, "--older-than is too long").because(&error))?,
    };
    let mut seen = Vec::new();
    loop {
        let call = client::request(request.clone(), CALL_TIMEOUT);
        let mut page = match session.sagas.list_sagas(call).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(session.failure(&status)),
        };
        if args.all && session.format == Format::Json {
            // One document, whatever the pages.
            seen.append(&mut page.sagas);
            if !page.next_page_token.is_empty() {
                request.page_token = page.next_page_token;
                continue;
            }
            page.sagas = std::mem::take(&mut seen);
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

fn print(session: &Session, page: &ListSagasResponse) -> Result<(), Failure> {
    if session.format == Format::Jsonl {
        let lines = page
            .sagas
            .iter()
            .map(|saga| format!("{}\n", proto_json::value("evenkeel.saga.v1.Saga", saga)));
        return output::emit(&lines.collect::<String>());
    }
    session.print("evenkeel.saga.v1.ListSagasResponse", page, |colour| {
        render::saga::list(&page.sagas, Utc::now()).render(colour)
    })
}
