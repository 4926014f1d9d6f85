//! Saga definitions, and the mistakes in them.

use chrono::{DateTime, Utc};
use proto::saga::v1::{Definition, DefinitionProblem};

use crate::output::{Cell, Table, Tone, printable};
use crate::render::time;

/// Registered definitions, one line each.
pub(crate) fn list(definitions: &[Definition], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "VERSION",
        "REVISION",
        "STATE",
        "REGISTERED",
        "INPUT",
        "STEPS",
    ]);
    for definition in definitions {
        let state = if definition.active {
            Cell::new("active", Tone::Good)
        } else {
            Cell::new("inactive", Tone::Dim)
        };
        table.row(vec![
            definition.name.as_str().into(),
            definition.version.to_string().into(),
            definition.revision.to_string().into(),
            state,
            time::ago(definition.registered_at.as_ref(), now).into(),
            definition.input_type.as_str().into(),
            definition.steps.join(" > ").into(),
        ]);
    }
    table
}

/// One mistake as people's tools read it: `file:line:column: REASON: message`, and what was expected below it.
pub(crate) fn problem(file: &str, problem: &DefinitionProblem) -> String {
    let mut text = format!(
        "{file}:{}:{}: {}: {}\n",
        problem.line, problem.column, problem.reason, problem.message
    );
    let place = [
        ("step", &problem.step),
        ("field", &problem.field),
        ("expected", &problem.expected),
        ("found", &problem.found),
    ];
    for (name, value) in place.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("    {name:<8}  {}\n", printable(value)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_step_field_and_types() {
        let found = DefinitionProblem {
            reason: "TYPE_MISMATCH".to_owned(),
            message: "input.amount does not fit".to_owned(),
            line: 12,
            column: 9,
            step: "RESERVE_QUOTA".to_owned(),
            field: "amount".to_owned(),
            expected: "int64".to_owned(),
            found: "string".to_owned(),
        };
        insta::assert_snapshot!(problem("a.yaml", &found), @r"
        a.yaml:12:9: TYPE_MISMATCH: input.amount does not fit
            step      RESERVE_QUOTA
            field     amount
            expected  int64
            found     string
        ");
    }
}
