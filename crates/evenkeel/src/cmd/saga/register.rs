//! `evenkeel saga register`.

use std::path::PathBuf;

use chrono::Utc;
use proto::saga::v1::RegisterDefinitionRequest;

use super::{Session, activate};
use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::render;

/// Checks a definition against the server's participants and stores it
///
/// A registered definition is not used before it is activated. Prints every mistake and exits with 1 if there is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga register services/task/sagas/TASK_RUN.yaml --activate
  evenkeel saga register draft.yaml --check-only")]
pub(super) struct Args {
    /// The definition, as YAML
    file: PathBuf,
    /// Makes it startable at once
    #[arg(long, conflicts_with = "check_only")]
    activate: bool,
    /// Only checks it, on the server; `saga check` does so without one
    #[arg(long)]
    check_only: bool,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let name = args.file.display().to_string();
    let request = RegisterDefinitionRequest {
        source: input::file_text(&args.file)?,
        source_name: name.clone(),
        check_only: args.check_only,
    };
    let answer = match session
        .sagas
        .register_definition(client::request(request, CALL_TIMEOUT))
        .await
    {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    if !answer.problems.is_empty() {
        session.print("evenkeel.saga.v1.RegisterDefinitionResponse", &answer, |_| {
            answer
                .problems
                .iter()
                .map(|problem| render::definition::problem(&name, problem))
                .collect()
        })?;
        return Ok(Code::Failed);
    }
    if let (true, Some(definition)) = (args.activate, &answer.definition) {
        let (name, version) = (definition.name.clone(), definition.version);
        return activate::activate(session, name, version, false).await;
    }
    session.print("evenkeel.saga.v1.RegisterDefinitionResponse", &answer, |colour| {
        render::definition::list(answer.definition.as_slice(), Utc::now()).render(colour)
    })?;
    if session.format == Format::Table && !args.check_only && !answer.created {
        output::remark("exactly this had been registered before");
    }
    Ok(Code::Ok)
}
