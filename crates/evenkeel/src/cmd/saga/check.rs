//! `evenkeel saga check`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use proto::saga::v1::DefinitionProblem;
use saga_definition::{Participants, Problem, compile};
use serde_json::{Value, json};

use super::Session;
use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;
use crate::wiring::settings;

/// Checks definitions without a server: every name, every type, every mistake
///
/// Prints all mistakes of all files, each with its line, step, field, and what was expected and found. Exits with 1 if
/// there is one. Evenkeel's own packages are known; others come with --descriptors or --participants.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga check services/task/sagas/TASK_RUN.yaml
  evenkeel saga check sagas/*.yaml --descriptors acme.binpb
  evenkeel saga check draft.yaml --participants evenkeel.toml -o json")]
pub(super) struct Args {
    /// Definitions, as YAML
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Encoded FileDescriptorSet with further packages, imports included (`buf build -o acme.binpb`)
    #[arg(long, value_name = "FILE")]
    descriptors: Vec<PathBuf>,
    /// The orchestrator's settings, of which [saga.participants] is read; without it every known package may be called
    #[arg(long, value_name = "FILE")]
    participants: Option<PathBuf>,
}

pub(super) fn run(session: &Session, args: &Args) -> Result<Code, Failure> {
    let (pool, participants) = known(&args.descriptors, args.participants.as_deref())?;
    let mut code = Code::Ok;
    let mut results = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        let (text, result) = match compile(&input::file_text(file)?, &pool, &participants) {
            Ok(definition) => {
                let steps = definition.steps().len();
                let text = format!(
                    "{name}: ok: {} version {}, {steps} steps\n",
                    definition.name(),
                    definition.version()
                );
                (text, json!({ "file": name, "problems": [] }))
            }
            Err(problems) => {
                code = Code::Failed;
                let problems: Vec<DefinitionProblem> = problems.into_iter().map(on_the_wire).collect();
                (
                    listing(&name, &problems),
                    json!({ "file": name, "problems": problems_json(&problems) }),
                )
            }
        };
        match session.format {
            Format::Table => output::emit(&text)?,
            Format::Jsonl => output::emit(&format!("{result}\n"))?,
            Format::Json => results.push(result),
        }
    }
    if session.format == Format::Json {
        output::emit(&format!("{:#}\n", json!({ "files": results })))?;
    }
    Ok(code)
}

/// Everything that may be named, and who may be called.
pub(super) fn known(
    descriptors: &[PathBuf],
    participants: Option<&Path>,
) -> Result<(DescriptorPool, Participants), Failure> {
    let mut pool = proto::descriptor_pool();
    for file in descriptors {
        input::add_descriptors(&mut pool, file)?;
    }
    let Some(file) = participants else {
        let packages: BTreeSet<String> = pool
            .services()
            .map(|service| service.package_name().to_owned())
            .collect();
        return Ok((pool, Participants::new(packages)));
    };
    let configured = settings::load(Some(file))?.saga.participants;
    for participant in configured.values() {
        if let Some(file) = &participant.descriptors {
            input::add_descriptors(&mut pool, file)?;
        }
    }
    Ok((pool, Participants::new(configured.into_keys())))
}

fn on_the_wire(problem: Problem) -> DefinitionProblem {
    DefinitionProblem {
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

/// All mistakes of a definition, for people.
pub(super) fn listing_of(file: &str, problems: Vec<Problem>) -> String {
    let problems: Vec<DefinitionProblem> = problems.into_iter().map(on_the_wire).collect();
    listing(file, &problems)
}

fn listing(file: &str, problems: &[DefinitionProblem]) -> String {
    let mut text: String = problems
        .iter()
        .map(|problem| render::definition::problem(file, problem))
        .collect();
    let noun = if problems.len() == 1 {
        "mistake"
    } else {
        "mistakes"
    };
    text.push_str(&format!("{file}: {} {noun}\n", problems.len()));
    text
}

fn problems_json(problems: &[DefinitionProblem]) -> Vec<Value> {
    problems
        .iter()
        .map(|problem| proto_json::value("evenkeel.saga.v1.DefinitionProblem", problem))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "\
saga: BAD
version: 1
input: evenkeel.task.v1.TaskRunInput
deadline: 5m
steps:
  - name: RESERVE_QUOTA
    call: evenkeel.quota.v1.QuotaSteps/Reserve
    with: { user_id: input.usr_id, task_id: input.task_id, amount: input.user_id }
  - name: CREATE_TASK
    call: evenkeel.task.v1.TaskSteps/CreateTaskRecrd
    with: { task_id: input.task_id }
    no_compensation: \"\"
";

    #[test]
    fn every_mistake_is_printed_with_its_place() {
        let (pool, participants) = known(&[], None).unwrap();
        let problems = compile(BAD, &pool, &participants).unwrap_err();
        let problems: Vec<_> = problems.into_iter().map(on_the_wire).collect();
        insta::assert_snapshot!(listing("bad.yaml", &problems), @r#"
        bad.yaml:6:5: MISSING_NO_COMPENSATION: nothing says how this step is undone
            step      RESERVE_QUOTA
            expected  `compensate`, `no_compensation: "<why>"`, `pivot: true` or `retriable: true`
        bad.yaml:8:22: UNKNOWN_SOURCE_FIELD: `input.usr_id`: evenkeel.task.v1.TaskRunInput has no field `usr_id`; did you mean `user_id`?
            step      RESERVE_QUOTA
            field     with.user_id
        bad.yaml:8:68: TYPE_MISMATCH: `input.user_id` has another type
            step      RESERVE_QUOTA
            field     with.amount
            expected  int64
            found     string
        bad.yaml:10:11: UNKNOWN_METHOD: evenkeel.task.v1.TaskSteps has no method `CreateTaskRecrd`; did you mean `CreateTaskRecord`?
            step      CREATE_TASK
            field     call
        bad.yaml:12:22: EMPTY_REASON: `no_compensation` must say why
            step      CREATE_TASK
            field     no_compensation
        bad.yaml: 5 mistakes
        "#);
    }

    #[test]
    fn what_ships_is_right() {
        let (pool, participants) = known(&[], None).unwrap();
        for (file, source) in crate::wiring::services::SHIPPED.into_iter().flatten() {
            let checked = compile(source, &pool, &participants);
            assert!(checked.is_ok(), "{file}: {:?}", checked.err());
        }
    }

    #[test]
    fn a_file_that_is_no_descriptor_set_is_named() {
        let file = PathBuf::from("Cargo.toml");
        assert!(
            known(&[file], None)
                .unwrap_err()
                .to_string()
                .contains("Cargo.toml")
        );
    }
}
