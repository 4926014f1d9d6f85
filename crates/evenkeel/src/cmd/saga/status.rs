//! `evenkeel saga status`.

use chrono::Utc;
use proto::saga::v1::GetStatusRequest;

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;

/// Counts sagas, and shows what instances and participants are doing
///
/// Failed are those that need attention or were ended by an operator; the success rate is (total - failed) / total.
/// Participants are shown as the answering instance sees them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga status
  evenkeel saga status --type PAYMENT_REFUND -o json | jq -r .successRate")]
pub(super) struct Args {
    /// Only sagas of this type
    #[arg(long = "type", value_name = "NAME")]
    saga_type: Option<String>,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let request = GetStatusRequest {
        r#type: args.saga_type.unwrap_or_default(),
    };
    let answer = match session
        .operators
        .get_status(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    let json = || proto_json::full("evenkeel.saga.v1.GetStatusResponse", &answer);
    match session.format {
        Format::Table => output::emit(&render::status::text(&answer, Utc::now(), session.colour))?,
        Format::Json => output::emit(&format!("{:#}\n", json()))?,
        Format::Jsonl => output::emit(&format!("{}\n", json()))?,
    }
    Ok(Code::Ok)
}
