//! `evenkeel saga show`.

use chrono::Utc;
use proto::saga::v1::{GetSagaRequest, GetSagaResponse};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::Tone;
use crate::render;

/// Shows one saga: what is true of it, its steps, and its history
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga show saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga show --type TASK_RUN --business-id task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga show saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b -o json | jq .history")]
pub(super) struct Args {
    #[command(flatten)]
    saga: Which,
    /// Leaves the history out
    #[arg(long)]
    no_history: bool,
}

/// Names one saga: by its id, or by its business key.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Id of the saga
    #[arg(value_name = "SAGA", required_unless_present = "business_id")]
    saga_id: Option<String>,
    /// Type of the saga, with --business-id
    #[arg(
        long = "type",
        value_name = "NAME",
        requires = "business_id",
        conflicts_with = "saga_id"
    )]
    saga_type: Option<String>,
    /// Business id of the saga, with --type
    #[arg(long, value_name = "ID", requires = "saga_type")]
    business_id: Option<String>,
}

impl Which {
    pub(super) fn request(self, with_history: bool) -> GetSagaRequest {
        GetSagaRequest {
            saga_id: self.saga_id.unwrap_or_default(),
            r#type: self.saga_type.unwrap_or_default(),
            business_id: self.business_id.unwrap_or_default(),
            with_history,
        }
    }
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let request = client::request(args.saga.request(!args.no_history), CALL_TIMEOUT);
    let answer = match session.sagas.get_saga(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    session.print("evenkeel.saga.v1.GetSagaResponse", &answer, |colour| {
        text(&answer, colour)
    })?;
    Ok(Code::Ok)
}

fn text(answer: &GetSagaResponse, colour: bool) -> String {
    let Some(saga) = &answer.saga else {
        return String::new();
    };
    let now = Utc::now();
    let mut out = render::saga::header(saga, now).render(colour);
    out.push_str(&format!("\n{}\n", Tone::Bold.paint("Steps", colour)));
    out.push_str(&render::saga::steps(&saga.steps, now).indent(2).render(colour));
    if !answer.history.is_empty() {
        out.push_str(&format!("\n{}\n", Tone::Bold.paint("Timeline", colour)));
        let timeline = render::saga::Timeline::of(saga);
        out.push_str(&timeline.table(&answer.history).indent(2).render(colour));
    }
    out
}
