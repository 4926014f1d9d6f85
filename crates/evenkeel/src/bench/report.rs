//! Rows of a benchmark, as they come or as a table at the end.

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output::{self, Cell, Format, Table, Tone};

/// How a benchmark prints.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Printing {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The same as `-o jsonl`
    #[arg(long, hide = true, conflicts_with = "output")]
    json: bool,
}

impl Printing {
    pub(super) const fn format(self) -> Format {
        if self.json { Format::Jsonl } else { self.output }
    }
}

/// Rows for people or for programs.
#[derive(Debug)]
pub(super) struct Report {
    format: Format,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    values: Vec<Value>,
}

impl Report {
    pub(super) const fn new(printing: Printing, columns: &'static [&'static str]) -> Self {
        Self {
            format: printing.format(),
            columns,
            rows: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a row: its cells for people, the object for programs.
    ///
    /// # Errors
    /// It cannot be printed.
    pub(super) fn add(&mut self, cells: Vec<Cell>, value: Value) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => output::emit(&format!("{value}\n")),
            Format::Json => {
                self.values.push(value);
                Ok(())
            }
            Format::Table => {
                self.rows.push(cells);
                Ok(())
            }
        }
    }

    /// Prints what was not printed yet.
    ///
    /// # Errors
    /// It cannot be printed.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => Ok(()),
            Format::Json => output::emit(&format!("{:#}\n", json!({ "rows": self.values }))),
            Format::Table => {
                let mut table = Table::new(self.columns);
                for row in self.rows {
                    table.row(row);
                }
                output::emit(&table.render(output::colour()))
            }
        }
    }
}

/// Says whether a goal was kept.
pub(super) fn goal(kept: bool) -> Cell {
    if kept {
        Cell::new("kept", Tone::Good)
    } else {
        Cell::new("missed", Tone::Bad)
    }
}
