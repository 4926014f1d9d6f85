//! Tables and colours for people, and the one place that writes to standard output.

use std::io::{self, IsTerminal, Write};

use crate::exit::{Code, Failure};
use crate::proto_json;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// What a piece of text means, shown as a colour where the output is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No colour.
    Plain,
    /// As wished: green.
    Good,
    /// Under way, or worth a look: yellow.
    Warn,
    /// Wrong: red.
    Bad,
    /// Less important: dim.
    Dim,
    /// Headings: bold.
    Bold,
}

impl Tone {
    const fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
        }
    }

    /// Wraps text in this tone's colour, if colours are on.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        if colour && self != Self::Plain {
            format!("{}{text}\x1b[0m", self.escape())
        } else {
            text.to_owned()
        }
    }
}

/// One cell of a table. Control characters are replaced, so that data cannot steer the terminal.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Makes a cell of a given tone.
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: printable(text.as_ref()),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Replaces control characters by spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A table with aligned columns, two spaces apart. The last column is not padded.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
    indent: usize,
}

impl Table {
    /// Makes a table with a line of headings.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            ..Self::default()
        }
    }

    /// Makes a table without headings.
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    /// Indents every line by this many spaces.
    pub(crate) fn indent(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    /// Makes the columns at least this wide, so that tables printed one after another line up.
    pub(crate) fn widths(mut self, widths: &[usize]) -> Self {
        self.widths = widths.to_vec();
        self
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Returns the text, each line ended.
    pub(crate) fn render(&self, colour: bool) -> String {
        let columns = self
            .rows
            .iter()
            .map(Vec::len)
            .max()
            .unwrap_or(0)
            .max(self.head.len());
        let width = |column: usize| {
            let head = self.head.get(column).map_or(0, |h| h.chars().count());
            let rows = self.rows.iter().filter_map(|row| row.get(column));
            rows.map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
                .max(head)
                .max(self.widths.get(column).copied().unwrap_or(0))
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        if !self.head.is_empty() {
            let head: Vec<Cell> = self.head.iter().map(|h| Cell::new(h, Tone::Bold)).collect();
            self.line(&mut out, &head, &widths, colour);
        }
        for row in &self.rows {
            self.line(&mut out, row, &widths, colour);
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[Cell], widths: &[usize], colour: bool) {
        // Trailing empty cells would leave spaces at the end of the line.
        let used = cells
            .iter()
            .rposition(|c| !c.text.is_empty())
            .map_or(0, |last| last + 1);
        out.push_str(&" ".repeat(if used == 0 { 0 } else { self.indent }));
        for (column, cell) in cells.iter().take(used).enumerate() {
            out.push_str(&cell.tone.paint(&cell.text, colour));
            if column + 1 < used {
                let gap = widths[column] - cell.text.chars().count() + 2;
                out.push_str(&" ".repeat(gap));
            }
        }
        out.push('\n');
    }
}

/// Tells whether standard output takes colours: a terminal, and `NO_COLOR` (no-color.org) unset or empty.
pub(crate) fn colour() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    !no_color && io::stdout().is_terminal()
}

/// Writes to standard output and flushes.
///
/// # Errors
/// If it cannot be written; silently so if the reader has gone away (`evenkeel saga list | head -1`).
pub(crate) fn emit(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_gone()),
        Err(error) => Err(Failure::new(Code::Failed, "cannot write to standard output").because(&error)),
    }
}

/// Prints one message: `table` (given whether colours are on) for people, else as JSON.
///
/// # Errors
/// As [`emit`].
pub(crate) fn print<M: prost::Message>(
    format: Format,
    colour: bool,
    type_name: &str,
    message: &M,
    table: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table => emit(&table(colour)),
        Format::Json => emit(&format!("{:#}\n", proto_json::value(type_name, message))),
        Format::Jsonl => emit(&format!("{}\n", proto_json::value(type_name, message))),
    }
}

/// Writes a remark to standard error, where it does not mix with results.
pub(crate) fn remark(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["SAGA", "STATE", "NOTE"]);
        table.row(vec!["one".into(), Cell::new("RUNNING", Tone::Warn), "".into()]);
        table.row(vec!["seventeen".into(), "OK".into(), "look".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        assert_eq!(
            table().render(false),
            "SAGA       STATE    NOTE\none        RUNNING\nseventeen  OK       look\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = table().render(true);
        assert!(coloured.contains("\x1b[33mRUNNING\x1b[0m"));
        let stripped = ["\x1b[33m", "\x1b[1m", "\x1b[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(stripped, table().render(false));
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        let mut table = Table::plain();
        table.row(vec!["a\x1b[2Jb\nc".into()]);
        assert_eq!(table.render(false), "a [2Jb c\n");
    }
}
