//! Prints the story and counts promises.

use std::time::Duration;

use proto::quota::v1::Balance;

use crate::exit::Failure;
use crate::output::{self, Table, Tone};

/// Prints, and remembers what was kept.
#[derive(Debug)]
pub(super) struct Narrator {
    colour: bool,
    stories: u32,
    kept: u32,
    broken: u32,
}

impl Narrator {
    /// Begins with nothing promised.
    pub(super) const fn new(colour: bool) -> Self {
        Self {
            colour,
            stories: 0,
            kept: 0,
            broken: 0,
        }
    }

    /// Begins the next story.
    pub(super) fn story(&mut self, title: &str) -> Result<(), Failure> {
        self.stories += 1;
        self.heading(&format!("{}. {title}", self.stories))
    }

    /// Begins a part.
    pub(super) fn heading(&self, title: &str) -> Result<(), Failure> {
        output::emit(&format!("\n{}\n", Tone::Bold.paint(title, self.colour)))
    }

    /// Tells what happens.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        output::emit(&format!("   {text}\n"))
    }

    /// Shows a table.
    pub(super) fn show(&self, table: Table) -> Result<(), Failure> {
        output::emit(&table.indent(5).render(self.colour))
    }

    /// Shows the quota before and after.
    pub(super) fn quota(&self, before: &Balance, after: &Balance) -> Result<(), Failure> {
        output::emit(&quota_table(before, after).indent(5).render(self.colour))
    }

    /// Says whether a promise was kept.
    pub(super) fn promise(&mut self, kept: bool, text: &str) -> Result<(), Failure> {
        let word = if kept {
            self.kept += 1;
            Tone::Good.paint("ok    ", self.colour)
        } else {
            self.broken += 1;
            Tone::Bad.paint("FAILED", self.colour)
        };
        output::emit(&format!("   {word}  {text}\n"))
    }

    /// Promises broken so far.
    pub(super) const fn broken(&self) -> u32 {
        self.broken
    }

    /// Ends the story.
    pub(super) fn close(&self, took: Duration) -> Result<(), Failure> {
        let text = format!(
            "{} stories: {} promises kept, {} broken.",
            self.stories, self.kept, self.broken
        );
        let tone = if self.broken == 0 { Tone::Good } else { Tone::Bad };
        output::emit(&format!(
            "\n{} It took {:.1} s.\n",
            tone.paint(&text, self.colour),
            took.as_secs_f64()
        ))
    }
}

fn quota_table(before: &Balance, after: &Balance) -> Table {
    let mut table = Table::new(&["quota", "granted", "available", "reserved", "consumed"]);
    for (name, balance) in [("before", before), ("after", after)] {
        let numbers = [
            balance.granted,
            balance.available,
            balance.reserved,
            balance.consumed,
        ];
        let mut row = vec![name.into()];
        row.extend(numbers.map(|n| n.to_string().into()));
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_shown_before_and_after() {
        let before = Balance {
            granted: 10,
            available: 10,
            ..Balance::default()
        };
        let after = Balance {
            granted: 10,
            available: 8,
            consumed: 2,
            ..Balance::default()
        };
        insta::assert_snapshot!(quota_table(&before, &after).render(false), @r"
        quota   granted  available  reserved  consumed
        before  10       10         0         0
        after   10       8          0         2
        ");
    }
}
