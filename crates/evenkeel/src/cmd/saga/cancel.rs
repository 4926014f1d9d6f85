//! `evenkeel saga cancel`.

use chrono::Utc;
use proto::saga::v1::CancelSagaRequest;

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// Asks a saga to unwind; refused once it only goes forward
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga cancel saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'ordered by mistake'")]
pub(super) struct Args {
    /// Id of the saga
    #[arg(value_name = "SAGA")]
    saga_id: String,
    /// Why; kept in the history with your name
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let request = CancelSagaRequest {
        saga_id: args.saga_id,
        reason: args.reason,
    };
    let answer = match session
        .sagas
        .cancel_saga(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    session.print("evenkeel.saga.v1.CancelSagaResponse", &answer, |colour| {
        render::saga::list(answer.saga.as_slice(), Utc::now()).render(colour)
    })?;
    Ok(Code::Ok)
}
