//! Types that are paused: `evenkeel saga pause-type`, `resume-type`, `paused`.

use chrono::Utc;
use proto::saga::v1::{ListPausedTypesRequest, PauseTypeRequest, ResumeTypeRequest};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;

/// Holds back the calls of every saga of a type
///
/// New sagas are still accepted; they wait. Answers to calls in flight are still recorded, and deadlines go on. It holds on
/// every replica within a heartbeat, and over restarts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga pause-type PAYMENT_REFUND --reason 'the provider doubles refunds, ticket 4711'")]
pub(super) struct Pause {
    /// Name of the type
    #[arg(value_name = "TYPE")]
    saga_type: String,
    /// Why; kept in the audit with your name
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Ends the pause of a type
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga resume-type PAYMENT_REFUND --reason 'the provider has mended it'")]
pub(super) struct Resume {
    /// Name of the type
    #[arg(value_name = "TYPE")]
    saga_type: String,
    /// Why; kept in the audit with your name
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lists the types that are paused, by whom and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga paused -o jsonl")]
pub(super) struct List {}

pub(super) async fn pause(mut session: Session, args: Pause) -> Result<Code, Failure> {
    let request = PauseTypeRequest {
        r#type: args.saga_type,
        reason: args.reason,
    };
    let answer = match session
        .operators
        .pause_type(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    if !answer.changed {
        output::remark("it was paused already; nothing was changed");
    }
    session.print("evenkeel.saga.v1.PauseTypeResponse", &answer, |colour| {
        render::status::paused(answer.paused.as_slice(), Utc::now()).render(colour)
    })?;
    Ok(Code::Ok)
}

pub(super) async fn resume(mut session: Session, args: Resume) -> Result<Code, Failure> {
    let request = ResumeTypeRequest {
        r#type: args.saga_type.clone(),
        reason: args.reason,
    };
    let answer = match session
        .operators
        .resume_type(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    if !answer.changed {
        output::remark("it was not paused; nothing was changed");
    }
    session.print("evenkeel.saga.v1.ResumeTypeResponse", &answer, |_| {
        format!("{} goes on\n", output::printable(&args.saga_type))
    })?;
    Ok(Code::Ok)
}

pub(super) async fn list(mut session: Session) -> Result<Code, Failure> {
    let request = client::request(ListPausedTypesRequest {}, CALL_TIMEOUT);
    let answer = match session.operators.list_paused_types(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    if session.format == Format::Jsonl {
        let lines = answer
            .paused
            .iter()
            .map(|paused| format!("{}\n", proto_json::value("evenkeel.saga.v1.PausedType", paused)));
        output::emit(&lines.collect::<String>())?;
        return Ok(Code::Ok);
    }
    session.print("evenkeel.saga.v1.ListPausedTypesResponse", &answer, |colour| {
        render::status::paused(&answer.paused, Utc::now()).render(colour)
    })?;
    Ok(Code::Ok)
}
