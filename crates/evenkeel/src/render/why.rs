//! Why a saga has not ended: what is open, what that waits for, and what an operator may do.

use chrono::{DateTime, Utc};
use proto::saga::v1::{
    AllowedAction, Operation, OperationState, OperatorAction, Saga, SagaStep, Wait, WaitKind,
};
use serde_json::{Value, json};

use crate::output::{Cell, Table, Tone, printable};
use crate::proto_json;
use crate::render::audit::step_name;
use crate::render::{saga, time};

/// An operation that has begun and has not ended.
struct Open<'a> {
    step: &'a SagaStep,
    op: &'static str,
    operation: &'a Operation,
}

fn open(saga: &Saga) -> impl Iterator<Item = Open<'_>> {
    saga.steps
        .iter()
        .flat_map(|step| {
            let operations = [("action", &step.action), ("compensation", &step.compensation)];
            operations.map(|(op, operation)| (step, op, operation))
        })
        .filter_map(|(step, op, operation)| {
            let operation = operation.as_ref()?;
            is_open(operation.state()).then_some(Open { step, op, operation })
        })
}

const fn is_open(state: OperationState) -> bool {
    match state {
        OperationState::Running | OperationState::Retrying | OperationState::Pending => true,
        OperationState::Unspecified
        | OperationState::NotStarted
        | OperationState::Succeeded
        | OperationState::Refused
        | OperationState::Abandoned
        | OperationState::Skipped => false,
    }
}

/// What an open operation waits for, in a few words.
pub(crate) fn wait(operation: &Operation, now: DateTime<Utc>) -> String {
    let Some(wait) = &operation.wait else {
        return match operation.next_retry_at.as_ref() {
            Some(at) => format!("next try {}", time::relative(Some(at), now)),
            None => "an answer: the call is in flight".to_owned(),
        };
    };
    let what = wait_name(wait);
    let until = match time::relative(wait.until.as_ref(), now) {
        until if until.is_empty() => until,
        until => format!(" ({until})"),
    };
    let text = if wait.text.is_empty() {
        String::new()
    } else {
        format!(": {}", wait.text)
    };
    format!("{what}{until}{text}")
}

fn wait_name(wait: &Wait) -> &'static str {
    match wait.kind() {
        WaitKind::Unspecified => "something that this program does not know",
        WaitKind::Backoff => "its next try",
        WaitKind::Pending => "the participant, which works on it",
        WaitKind::Paused => "an operator, who paused it",
        WaitKind::CircuitOpen => "the participant, whose circuit is open",
        WaitKind::Concurrency => "its turn",
        WaitKind::Quarantined => "its release from quarantine",
        WaitKind::Lease => "the database",
    }
}

/// Class and text of the last failure; empty if there was none.
fn failure(operation: &Operation) -> String {
    let text = operation.last_error.as_ref().map(saga::error).unwrap_or_default();
    match (operation.last_error_class.as_str(), text) {
        ("", text) => text,
        (class, text) if text.is_empty() => class.to_owned(),
        (class, text) => format!("{class}: {text}"),
    }
}

/// One line on the saga, and one for each open operation: what somebody is about to act on.
pub(crate) fn glance(saga: &Saga, now: DateTime<Utc>) -> String {
    let mut text = printable(&format!(
        "{} {} {}: {}, version {}",
        saga.saga_id,
        saga.r#type,
        saga.business_id,
        saga::state_text(saga),
        saga.state_version
    ));
    text.push('\n');
    for Open { step, op, operation } in open(saga) {
        let failed = match failure(operation) {
            failed if failed.is_empty() => failed,
            failed => format!("; {failed}"),
        };
        let line = format!(
            "  {} {op}: try {}, waits for {}{failed}",
            step_name(&step.name, step.index),
            operation.attempts,
            wait(operation, now)
        );
        text.push_str(&printable(&line));
        text.push('\n');
    }
    text
}

/// A table of what is open, if anything is.
pub(crate) fn waits(saga: &Saga, now: DateTime<Utc>, colour: bool) -> String {
    let mut table = Table::new(&["STEP", "OPERATION", "TRIES", "WAITS FOR", "LAST FAILURE"]).indent(2);
    let mut any = false;
    for Open { step, op, operation } in open(saga) {
        any = true;
        table.row(vec![
            step_name(&step.name, step.index).into(),
            op.into(),
            operation.attempts.to_string().into(),
            Cell::new(wait(operation, now), Tone::Warn),
            Cell::new(failure(operation), Tone::Dim),
        ]);
    }
    if any {
        format!("\n{}", table.render(colour))
    } else {
        String::new()
    }
}

/// The whole answer for people.
pub(crate) fn text(saga: &Saga, now: DateTime<Utc>, colour: bool) -> String {
    let mut table = Table::plain();
    table.row(vec![
        Cell::new(&saga.saga_id, Tone::Bold),
        saga.r#type.as_str().into(),
        saga.business_id.as_str().into(),
        saga::state(saga),
        format!("version {}", saga.state_version).into(),
    ]);
    let mut text = table.render(colour);
    if saga::has_ended(saga.phase()) {
        text.push_str("\nIt has ended; nothing is open.\n");
    }
    if saga.quarantined {
        text.push_str(
            "\nNobody drives it: handling it broke the orchestrator. It goes on when it is released.\n",
        );
    }
    match waits(saga, now, colour) {
        open if !open.is_empty() => text.push_str(&open),
        _ if saga::has_ended(saga.phase()) || saga.quarantined => {}
        _ if saga.paused => text.push_str("\nNo call is open; none goes out while it is paused.\n"),
        _ => text.push_str("\nNo call is open: it is between two steps.\n"),
    }
    if !saga.attention.is_empty() {
        text.push_str(&format!("\n{}\n", Tone::Bold.paint("Needs attention", colour)));
        let mut table = Table::plain().indent(2);
        for attention in &saga.attention {
            table.row(vec![
                Cell::new(&attention.cause, Tone::Bad),
                attention.step.as_str().into(),
                format!("since {}", time::ago(attention.since.as_ref(), now)).into(),
                Cell::new(&attention.detail, Tone::Dim),
            ]);
        }
        text.push_str(&table.render(colour));
    }
    let commands: Vec<String> = saga
        .allowed_actions
        .iter()
        .map(|allowed| command(saga, allowed))
        .collect();
    if !commands.is_empty() {
        text.push_str(&format!("\n{}\n", Tone::Bold.paint("You may", colour)));
        for command in commands {
            text.push_str(&format!("  {}\n", printable(&command)));
        }
    }
    text
}

/// The command that does an allowed action.
fn command(saga: &Saga, allowed: &AllowedAction) -> String {
    let verb = match allowed.action() {
        OperatorAction::Unspecified => return "(something that this program does not know)".to_owned(),
        OperatorAction::RetryNow => "retry",
        OperatorAction::ResolveStepSucceeded | OperatorAction::ResolveStepFailed => "resolve-step",
        OperatorAction::SkipStep => "skip",
        OperatorAction::Compensate => "compensate",
        OperatorAction::ResolveSaga => "resolve",
        OperatorAction::Pause => "pause",
        OperatorAction::Resume => "resume",
        OperatorAction::Release => "release",
        OperatorAction::Acknowledge => "acknowledge",
        OperatorAction::Cancel => "cancel",
        OperatorAction::PauseType => {
            return format!("evenkeel saga pause-type {} --reason TEXT", saga.r#type);
        }
        OperatorAction::ResumeType => {
            return format!("evenkeel saga resume-type {} --reason TEXT", saga.r#type);
        }
    };
    let mut command = format!("evenkeel saga {verb} {}", saga.saga_id);
    if !allowed.step.is_empty() {
        command.push_str(&format!(" {}", allowed.step));
        if allowed.index != 0 {
            command.push_str(&format!(" --index {}", allowed.index));
        }
        if allowed.op == "compensation" {
            command.push_str(" --op compensation");
        }
    }
    command.push_str(match allowed.action() {
        OperatorAction::ResolveStepSucceeded => " --succeeded JSON --evidence TEXT",
        OperatorAction::ResolveStepFailed => " --failed --evidence TEXT",
        OperatorAction::SkipStep | OperatorAction::ResolveSaga => " --evidence TEXT",
        OperatorAction::Unspecified
        | OperatorAction::RetryNow
        | OperatorAction::Compensate
        | OperatorAction::Pause
        | OperatorAction::Resume
        | OperatorAction::Release
        | OperatorAction::Acknowledge
        | OperatorAction::Cancel
        | OperatorAction::PauseType
        | OperatorAction::ResumeType => "",
    });
    command.push_str(" --reason TEXT");
    command
}

/// The whole answer for programs.
pub(crate) fn json(saga: &Saga) -> Value {
    let open: Vec<Value> = open(saga)
        .map(|Open { step, op, operation }| {
            json!({
                "step": step.name,
                "index": step.index,
                "op": op,
                "operation": proto_json::value("evenkeel.saga.v1.Operation", operation),
            })
        })
        .collect();
    // What a saga is without its steps, input and history.
    let mut whole = Saga {
        steps: Vec::new(),
        ..saga.clone()
    };
    whole.input_json.clear();
    json!({ "saga": proto_json::value("evenkeel.saga.v1.Saga", &whole), "open": open })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use proto::saga::v1::{Attention, SagaError, SagaPhase};

    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000, 0).unwrap()
    }

    fn allow(action: OperatorAction, step: &str, op: &str) -> AllowedAction {
        AllowedAction {
            action: action.into(),
            step: step.to_owned(),
            index: 0,
            op: op.to_owned(),
        }
    }

    fn stuck() -> Saga {
        let mut saga = Saga {
            saga_id: "saga_1".to_owned(),
            r#type: "TASK_RUN".to_owned(),
            business_id: "task_7".to_owned(),
            state_version: 12,
            needs_attention: true,
            attention: vec![Attention {
                cause: "UNREACHABLE".to_owned(),
                step: "RESERVE_QUOTA".to_owned(),
                since: at(900),
                detail: "20 calls in a row".to_owned(),
            }],
            steps: vec![
                SagaStep {
                    name: "RESERVE_QUOTA".to_owned(),
                    order: 1,
                    action: Some(Operation {
                        state: OperationState::Succeeded.into(),
                        ..Operation::default()
                    }),
                    compensation: Some(Operation {
                        state: OperationState::Retrying.into(),
                        attempts: 5,
                        last_error_class: "unknown".to_owned(),
                        last_error: Some(SagaError {
                            code: "UNAVAILABLE".to_owned(),
                            message: "connection refused\x1b[2J".to_owned(),
                            ..SagaError::default()
                        }),
                        wait: Some(Wait {
                            kind: WaitKind::CircuitOpen.into(),
                            until: at(1_004),
                            text: "participant evenkeel.quota.v1 failed 20 calls in a row".to_owned(),
                        }),
                        ..Operation::default()
                    }),
                    ..SagaStep::default()
                },
                SagaStep {
                    name: "RUN_PIPELINE".to_owned(),
                    order: 2,
                    index: 3,
                    action: Some(Operation {
                        state: OperationState::Running.into(),
                        attempts: 1,
                        ..Operation::default()
                    }),
                    ..SagaStep::default()
                },
            ],
            allowed_actions: vec![
                allow(OperatorAction::RetryNow, "RESERVE_QUOTA", "compensation"),
                allow(OperatorAction::SkipStep, "RESERVE_QUOTA", "compensation"),
                allow(OperatorAction::ResolveStepSucceeded, "RUN_PIPELINE", "action"),
                allow(OperatorAction::Pause, "", ""),
            ],
            ..Saga::default()
        };
        saga.set_phase(SagaPhase::Compensating);
        saga
    }

    #[test]
    fn a_stuck_saga_says_what_it_waits_for_and_what_one_may_do() {
        insta::assert_snapshot!(text(&stuck(), now(), false), @r"
        saga_1  TASK_RUN  task_7  COMPENSATING  version 12

          STEP             OPERATION     TRIES  WAITS FOR                                                                                                 LAST FAILURE
          RESERVE_QUOTA    compensation  5      the participant, whose circuit is open (in 4.0s): participant evenkeel.quota.v1 failed 20 calls in a row  unknown: UNAVAILABLE: connection refused [2J
          RUN_PIPELINE[3]  action        1      an answer: the call is in flight

        Needs attention
          UNREACHABLE  RESERVE_QUOTA  since 100s ago  20 calls in a row

        You may
          evenkeel saga retry saga_1 RESERVE_QUOTA --op compensation --reason TEXT
          evenkeel saga skip saga_1 RESERVE_QUOTA --op compensation --evidence TEXT --reason TEXT
          evenkeel saga resolve-step saga_1 RUN_PIPELINE --succeeded JSON --evidence TEXT --reason TEXT
          evenkeel saga pause saga_1 --reason TEXT
        ");
    }

    #[test]
    fn what_is_about_to_be_acted_on_fits_a_few_lines() {
        insta::assert_snapshot!(glance(&stuck(), now()), @r"
        saga_1 TASK_RUN task_7: COMPENSATING, version 12
          RESERVE_QUOTA compensation: try 5, waits for the participant, whose circuit is open (in 4.0s): participant evenkeel.quota.v1 failed 20 calls in a row; unknown: UNAVAILABLE: connection refused [2J
          RUN_PIPELINE[3] action: try 1, waits for an answer: the call is in flight
        ");
    }

    #[test]
    fn programs_get_what_is_open_without_input_and_other_steps() {
        let mut saga = stuck();
        saga.input_json = "{\"secret\":1}".to_owned();
        let shown = json(&saga);
        assert_eq!(shown["saga"]["stateVersion"], 12);
        assert_eq!(shown["saga"].get("input"), None);
        assert_eq!(shown["open"][0]["step"], "RESERVE_QUOTA");
        assert_eq!(shown["open"][0]["op"], "compensation");
        assert_eq!(shown["open"][0]["operation"]["wait"]["kind"], "CIRCUIT_OPEN");
        assert_eq!(shown["open"][1]["index"], 3);
        assert_eq!(shown["saga"]["allowedActions"][3]["action"], "PAUSE");
    }

    #[test]
    fn a_saga_with_nothing_open_says_why() {
        let mut saga = Saga {
            saga_id: "saga_1".to_owned(),
            ..Saga::default()
        };
        saga.set_phase(SagaPhase::Running);
        assert!(text(&saga, now(), false).contains("between two steps"));
        saga.paused = true;
        assert!(text(&saga, now(), false).contains("while it is paused"));
        saga.quarantined = true;
        assert!(text(&saga, now(), false).contains("when it is released"));
        saga.quarantined = false;
        saga.set_phase(SagaPhase::Completed);
        assert!(text(&saga, now(), false).contains("It has ended"));
    }
}
