//! What operators did.

use chrono::{DateTime, Utc};
use proto::saga::v1::{AuditEntry, OperatorAction};

use crate::output::{Cell, Table, Tone};
use crate::render::time;

/// Name of an action as the command line has it.
pub(crate) const fn action_name(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Unspecified => "unknown",
        OperatorAction::RetryNow => "retry",
        OperatorAction::ResolveStepSucceeded => "resolve-step --succeeded",
        OperatorAction::ResolveStepFailed => "resolve-step --failed",
        OperatorAction::SkipStep => "skip",
        OperatorAction::Compensate => "compensate",
        OperatorAction::ResolveSaga => "resolve",
        OperatorAction::Pause => "pause",
        OperatorAction::Resume => "resume",
        OperatorAction::Release => "release",
        OperatorAction::Acknowledge => "acknowledge",
        OperatorAction::Cancel => "cancel",
        OperatorAction::PauseType => "pause-type",
        OperatorAction::ResumeType => "resume-type",
    }
}

/// Name of a step with its index, where it has one.
pub(crate) fn step_name(step: &str, index: u32) -> String {
    if index == 0 {
        step.to_owned()
    } else {
        format!("{step}[{index}]")
    }
}

/// Why somebody did it, and what proves it.
pub(crate) fn why(note: &str, evidence: &str) -> String {
    if evidence.is_empty() {
        note.to_owned()
    } else {
        format!("{note} (evidence: {evidence})")
    }
}

/// Entries of the audit, one line each.
pub(crate) fn list(entries: &[AuditEntry], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["WHEN", "WHO", "WHAT", "TYPE", "SAGA", "STEP", "VERSION", "WHY"]);
    for entry in entries {
        let of_a_saga = !entry.saga_id.is_empty();
        let step = match (entry.step.as_str(), entry.op.as_str()) {
            ("", _) => String::new(),
            (step, "compensation") => format!("{} compensation", step_name(step, entry.index)),
            (step, _) => step_name(step, entry.index),
        };
        table.row(vec![
            time::ago(entry.at.as_ref(), now).into(),
            entry.actor.as_str().into(),
            Cell::new(action_name(entry.action()), Tone::Bold),
            entry.r#type.as_str().into(),
            entry.saga_id.as_str().into(),
            step.into(),
            if of_a_saga {
                entry.version.to_string()
            } else {
                String::new()
            }
            .into(),
            Cell::new(why(&entry.reason, &entry.evidence), Tone::Dim),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_entry_says_who_did_what_to_what_and_why() {
        let entries = [
            AuditEntry {
                at: Some(Timestamp {
                    seconds: 90,
                    nanos: 0,
                }),
                actor: "ann (cli)".to_owned(),
                action: OperatorAction::SkipStep.into(),
                saga_id: "saga_1".to_owned(),
                r#type: "TASK_RUN".to_owned(),
                step: "RESERVE_QUOTA".to_owned(),
                op: "compensation".to_owned(),
                reason: "given back".to_owned(),
                evidence: "grant 812".to_owned(),
                version: 12,
                ..AuditEntry::default()
            },
            AuditEntry {
                at: Some(Timestamp {
                    seconds: 40,
                    nanos: 0,
                }),
                actor: "bob".to_owned(),
                action: OperatorAction::PauseType.into(),
                r#type: "TASK_RUN".to_owned(),
                reason: "provider doubles".to_owned(),
                ..AuditEntry::default()
            },
        ];
        let now = DateTime::from_timestamp(100, 0).unwrap();
        insta::assert_snapshot!(list(&entries, now).render(false), @r"
        WHEN     WHO        WHAT        TYPE      SAGA    STEP                        VERSION  WHY
        10s ago  ann (cli)  skip        TASK_RUN  saga_1  RESERVE_QUOTA compensation  12       given back (evidence: grant 812)
        60s ago  bob        pause-type  TASK_RUN                                               provider doubles
        ");
    }
}
