//! RegisterDefinition.

use proto::saga::v1 as pb;
use saga_definition::{Definition, Problem};

use crate::app::activate::show_definition;
use crate::app::{App, Caller, Error};

impl App {
    /// Checks a definition and stores it.
    pub(crate) async fn register(
        &self,
        caller: Caller,
        request: pb::RegisterDefinitionRequest,
    ) -> Result<pb::RegisterDefinitionResponse, Error> {
        let definition = match self.definitions.check(&request.source) {
            Ok(definition) => definition,
            Err(problems) => {
                return Ok(pb::RegisterDefinitionResponse {
                    problems: problems.into_iter().map(show_problem).collect(),
                    ..pb::RegisterDefinitionResponse::default()
                });
            }
        };
        if request.check_only {
            return Ok(pb::RegisterDefinitionResponse {
                definition: Some(show_checked(&definition)),
                ..pb::RegisterDefinitionResponse::default()
            });
        }
        let registered = self
            .definitions
            .register(&definition, &request.source, &caller.actor)
            .await?;
        if registered.created {
            tracing::info!(
                business_type = definition.name(),
                version = definition.version(),
                revision = registered.stored.revision,
                actor = caller.actor,
                source = request.source_name,
                "definition registered"
            );
        }
        Ok(pb::RegisterDefinitionResponse {
            definition: Some(show_definition(&registered.stored)),
            created: registered.created,
            problems: Vec::new(),
        })
    }
}

/// What is not stored has no revision.
fn show_checked(definition: &Definition) -> pb::Definition {
    pb::Definition {
        name: definition.name().to_owned(),
        version: definition.version(),
        hash: hex(&definition.hash()),
        steps: definition.steps().iter().map(|step| step.name.clone()).collect(),
        input_type: definition.input().full_name().to_owned(),
        ..pb::Definition::default()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn show_problem(problem: Problem) -> pb::DefinitionProblem {
    pb::DefinitionProblem {
        reason: problem.kind.reason().to_owned(),
        message: problem.message,
        line: problem.line,
        column: problem.column,
        step: problem.step.unwrap_or_default(),
        field: problem.field.unwrap_or_default(),
        expected: problem.expected.unwrap_or_default(),
        found: problem.found.unwrap_or_default(),
    }
}
