//! `evenkeel saga activate`.

use chrono::Utc;
use proto::saga::v1::ActivateDefinitionRequest;

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::render;

/// Makes a registered version startable; the highest active one is used
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga activate TASK_RUN 2
  evenkeel saga activate TASK_RUN 2 --deactivate    new sagas use version 1 again, running ones keep 2")]
pub(super) struct Args {
    /// Name of the definition
    name: String,
    /// Its version
    version: u32,
    /// Takes the version out of use for new sagas
    #[arg(long)]
    deactivate: bool,
}

pub(super) async fn run(session: Session, args: Args) -> Result<Code, Failure> {
    activate(session, args.name, args.version, args.deactivate).await
}

/// Activates (or deactivates) one version and prints it.
pub(super) async fn activate(
    mut session: Session,
    name: String,
    version: u32,
    deactivate: bool,
) -> Result<Code, Failure> {
    let request = ActivateDefinitionRequest {
        name,
        version,
        deactivate,
    };
    let answer = match session
        .sagas
        .activate_definition(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    session.print("evenkeel.saga.v1.ActivateDefinitionResponse", &answer, |colour| {
        render::definition::list(answer.definition.as_slice(), Utc::now()).render(colour)
    })?;
    Ok(Code::Ok)
}
