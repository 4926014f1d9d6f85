//! What the checks found.

use serde_json::{Value, json};

use crate::output::{Cell, Table, Tone};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Works, but somebody should look.
    Look,
    /// Not as it should be.
    Wrong,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Look => "look",
            Self::Wrong => "wrong",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Look => Tone::Warn,
            Self::Wrong => Tone::Bad,
        }
    }
}

/// One check.
#[derive(Debug)]
struct Check {
    name: String,
    state: State,
    found: String,
    next: String,
}

/// All checks, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// Adds a check that is well.
    pub(super) fn ok(&mut self, name: impl Into<String>, found: impl Into<String>) {
        self.add(State::Ok, name, found, "");
    }

    /// Adds a check that somebody should look at.
    pub(super) fn look(
        &mut self,
        name: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.add(State::Look, name, found, next);
    }

    /// Adds a check that is wrong.
    pub(super) fn wrong(
        &mut self,
        name: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.add(State::Wrong, name, found, next);
    }

    fn add(
        &mut self,
        state: State,
        name: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.checks.push(Check {
            name: name.into(),
            state,
            found: found.into(),
            next: next.into(),
        });
    }

    /// True if nothing is wrong. Things to look at do not count.
    pub(crate) fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.state != State::Wrong)
    }

    /// For people: one line a check, then what to do.
    pub(crate) fn table(&self, colour: bool) -> String {
        let mut table = Table::new(&["CHECK", "STATE", "FOUND"]);
        for check in &self.checks {
            table.row(vec![
                check.name.as_str().into(),
                Cell::new(check.state.name(), check.state.tone()),
                check.found.as_str().into(),
            ]);
        }
        let mut text = table.render(colour);
        let steps = self.checks.iter().filter(|check| !check.next.is_empty());
        for (number, check) in (1..).zip(steps) {
            if number == 1 {
                text.push_str("\nWhat to do:\n");
            }
            text.push_str(&format!("  {number}. {}: {}\n", check.name, check.next));
        }
        text
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(json_of).collect();
        json!({ "well": self.is_well(), "checks": checks })
    }

    /// For machines, one check a line.
    pub(crate) fn json_lines(&self) -> String {
        self.checks
            .iter()
            .map(|check| format!("{}\n", json_of(check)))
            .collect()
    }
}

fn json_of(check: &Check) -> Value {
    json!({ "check": check.name, "state": check.state.name(), "found": check.found, "next": check.next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.ok("database", "Postgres 15.18");
        report.look("sagas", "3 need attention", "evenkeel saga list --attention");
        report.wrong("fsync", "off", "set fsync = on: commits may be lost");
        report
    }

    #[test]
    fn the_report_ends_with_what_to_do() {
        insta::assert_snapshot!(report().table(false), @r"
        CHECK     STATE  FOUND
        database  ok     Postgres 15.18
        sagas     look   3 need attention
        fsync     wrong  off

        What to do:
          1. sagas: evenkeel saga list --attention
          2. fsync: set fsync = on: commits may be lost
        ");
    }

    #[test]
    fn things_to_look_at_are_not_wrong() {
        assert!(!report().is_well());
        let mut report = Report::default();
        report.look("sagas", "3 need attention", "");
        assert!(report.is_well());
        assert_eq!(report.json()["checks"][0]["state"], "look");
    }
}
