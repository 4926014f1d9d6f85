//! Quota balances.

use proto::quota::v1::{Balance, LedgerEntry};

use crate::output::{Cell, Table, Tone};

/// One balance as a table of one line.
pub(crate) fn table(balance: &Balance) -> Table {
    let mut table = Table::new(&["USER", "GRANTED", "AVAILABLE", "RESERVED", "CONSUMED"]);
    table.row(vec![
        balance.user_id.as_str().into(),
        balance.granted.to_string().into(),
        balance.available.to_string().into(),
        balance.reserved.to_string().into(),
        balance.consumed.to_string().into(),
    ]);
    table
}

/// Movements of an account, newest first.
pub(crate) fn ledger(entries: &[LedgerEntry]) -> Table {
    let mut table = Table::new(&["KIND", "GRANTED", "AVAILABLE", "RESERVED", "CONSUMED", "FOR"]);
    let delta = |n: i64| {
        if n == 0 {
            Cell::new("0", Tone::Dim)
        } else {
            format!("{n:+}").into()
        }
    };
    for entry in entries {
        let subject = if entry.task_id.is_empty() {
            &entry.grant_id
        } else {
            &entry.task_id
        };
        table.row(vec![
            entry.kind.as_str().into(),
            delta(entry.granted_delta),
            delta(entry.available_delta),
            delta(entry.reserved_delta),
            delta(entry.consumed_delta),
            subject.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_shows_signs() {
        let entry = LedgerEntry {
            kind: "reserved".to_owned(),
            available_delta: -3,
            reserved_delta: 3,
            task_id: "task_1".to_owned(),
            ..LedgerEntry::default()
        };
        insta::assert_snapshot!(ledger(&[entry]).render(false), @r"
        KIND      GRANTED  AVAILABLE  RESERVED  CONSUMED  FOR
        reserved  0        -3         +3        0         task_1
        ");
    }
}
