//! What was tried, for people and for programs.

use conformance::Verdict;
use conformance::matrix::Row;
use serde_json::{Value, json};

use crate::cmd::participant::tone;
use crate::exit::Failure;
use crate::output::{self, Cell, Format, Table, Tone};

/// One result, for those who wait.
pub(super) fn line(row: &Row) -> String {
    let operation = operation(row);
    let gap = if operation.is_empty() { "" } else { " " };
    output::printable(&format!(
        "{}  {}{gap}{operation}  {}: {}",
        row.verdict.name(),
        row.step,
        row.fault,
        row.saw
    ))
}

/// Prints all results.
pub(super) fn print(format: Format, colour: bool, saga: &str, rows: &[Row]) -> Result<(), Failure> {
    match format {
        Format::Table => output::emit(&format!(
            "{}\n{}\n",
            table(rows).render(colour),
            summary(saga, rows)
        )),
        Format::Jsonl => rows
            .iter()
            .try_for_each(|row| output::emit(&format!("{}\n", value(row)))),
        Format::Json => {
            let cases: Vec<Value> = rows.iter().map(value).collect();
            let passed = count(rows, Verdict::Fail) == 0;
            output::emit(&format!(
                "{:#}\n",
                json!({ "saga": saga, "passed": passed, "cases": cases })
            ))
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["RESULT", "STEP", "OPERATION", "FAULT", "SAW"]);
    for row in rows {
        table.row(vec![
            Cell::new(row.verdict.name(), tone(row.verdict)),
            (&row.step).into(),
            operation(row).into(),
            row.fault.into(),
            (&row.saw).into(),
        ]);
        if !row.next.is_empty() {
            let empty = || Cell::from("");
            let title = Cell::new("what to do", Tone::Dim);
            table.row(vec![empty(), empty(), empty(), title, (&row.next).into()]);
        }
    }
    table
}

fn operation(row: &Row) -> &'static str {
    row.op.map_or("", rpc::step::Op::name)
}

fn count(rows: &[Row], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row.verdict == verdict).count()
}

fn summary(saga: &str, rows: &[Row]) -> String {
    let [passed, failed, skipped] = [Verdict::Pass, Verdict::Fail, Verdict::Skip].map(|v| count(rows, v));
    format!("{saga}: {passed} passed, {failed} failed, {skipped} not tried")
}

fn value(row: &Row) -> Value {
    json!({
        "step": row.step,
        "operation": operation(row),
        "fault": row.fault,
        "result": row.verdict.name(),
        "saw": row.saw,
        "next": row.next,
    })
}

#[cfg(test)]
mod tests {
    use rpc::step::Op;

    use super::*;

    #[test]
    fn the_report_has_a_line_for_each_step_and_fault() {
        let rows = [
            Row {
                step: "RESERVE".to_owned(),
                op: Some(Op::Compensation),
                fault: "crash before",
                verdict: Verdict::Pass,
                saw: "COMPENSATED (REFUSED at PAY)".to_owned(),
                next: String::new(),
            },
            Row {
                step: "*".to_owned(),
                op: None,
                fault: "reply lost",
                verdict: Verdict::Fail,
                saw: "ended COMPENSATED (EXHAUSTED at RESERVE); expected COMPLETED".to_owned(),
                next: "give RESERVE more `retries`".to_owned(),
            },
        ];
        let text = format!("{}\n{}", table(&rows).render(false), summary("ORDER", &rows));
        insta::assert_snapshot!(text, @r"
        RESULT  STEP     OPERATION     FAULT         SAW
        PASS    RESERVE  compensation  crash before  COMPENSATED (REFUSED at PAY)
        FAIL    *                      reply lost    ended COMPENSATED (EXHAUSTED at RESERVE); expected COMPLETED
                                       what to do    give RESERVE more `retries`

        ORDER: 1 passed, 1 failed, 0 not tried
        ");
    }
}
