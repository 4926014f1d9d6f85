//! Sagas: the list, and one saga as header, steps and timeline.

use chrono::{DateTime, Utc};
use proto::saga::v1::{
    Operation, OperationState, OperatorAction, Saga, SagaError, SagaEvent, SagaPhase, SagaReason, SagaStep,
};

use crate::output::{Cell, Table, Tone};
use crate::render::audit::{action_name, step_name, why};
use crate::render::{time, why as waits};

/// Longest input shown in a header, in characters.
const MAX_INPUT_CHARS: usize = 400;

/// Tells whether a saga has ended.
pub(crate) const fn has_ended(phase: SagaPhase) -> bool {
    match phase {
        SagaPhase::Completed | SagaPhase::Compensated | SagaPhase::Resolved => true,
        SagaPhase::Unspecified | SagaPhase::Running | SagaPhase::Compensating => false,
    }
}

/// Name of a phase without its prefix.
pub(crate) const fn phase_name(phase: SagaPhase) -> &'static str {
    match phase {
        SagaPhase::Unspecified => "UNKNOWN",
        SagaPhase::Running => "RUNNING",
        SagaPhase::Compensating => "COMPENSATING",
        SagaPhase::Completed => "COMPLETED",
        SagaPhase::Compensated => "COMPENSATED",
        SagaPhase::Resolved => "RESOLVED",
    }
}

/// Name of a reason without its prefix; empty if there is none.
pub(crate) const fn reason_name(reason: SagaReason) -> &'static str {
    match reason {
        SagaReason::Unspecified => "",
        SagaReason::Refused => "REFUSED",
        SagaReason::Timeout => "TIMEOUT",
        SagaReason::Cancelled => "CANCELLED",
        SagaReason::Operator => "OPERATOR",
        SagaReason::Exhausted => "EXHAUSTED",
    }
}

const fn phase_tone(phase: SagaPhase) -> Tone {
    match phase {
        SagaPhase::Completed => Tone::Good,
        SagaPhase::Compensating | SagaPhase::Compensated | SagaPhase::Resolved => Tone::Warn,
        SagaPhase::Unspecified => Tone::Bad,
        SagaPhase::Running => Tone::Plain,
    }
}

/// Phase, reason, and what holds it: `COMPENSATING (REFUSED) paused`.
pub(crate) fn state_text(saga: &Saga) -> String {
    let phase = phase_name(saga.phase());
    let mut text = match reason_name(saga.reason()) {
        "" => phase.to_owned(),
        reason => format!("{phase} ({reason})"),
    };
    if saga.quarantined {
        text.push_str(" quarantined");
    }
    if saga.paused {
        text.push_str(" paused");
    }
    text
}

/// [`state_text`] in the colour of the phase.
pub(crate) fn state(saga: &Saga) -> Cell {
    let tone = if saga.quarantined {
        Tone::Bad
    } else if saga.paused {
        Tone::Warn
    } else {
        phase_tone(saga.phase())
    };
    Cell::new(state_text(saga), tone)
}

/// Error as `REASON (domain): message`; the gRPC code stands in where there is no reason.
pub(crate) fn error(error: &SagaError) -> String {
    let name = if error.reason.is_empty() {
        &error.code
    } else {
        &error.reason
    };
    let domain = if error.domain.is_empty() {
        String::new()
    } else {
        format!(" ({})", error.domain)
    };
    let message = if error.message.is_empty() {
        String::new()
    } else {
        format!(": {}", error.message)
    };
    format!("{name}{domain}{message}")
}

/// Sagas as a table, one line each.
pub(crate) fn list(sagas: &[Saga], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["SAGA", "TYPE", "BUSINESS ID", "STATE", "STEP", "STARTED", "NOTE"]);
    for saga in sagas {
        table.row(vec![
            saga.saga_id.as_str().into(),
            saga.r#type.as_str().into(),
            saga.business_id.as_str().into(),
            state(saga),
            saga.current_step.as_str().into(),
            time::ago(saga.created_at.as_ref(), now).into(),
            note(saga, now),
        ]);
    }
    table
}

fn note(saga: &Saga, now: DateTime<Utc>) -> Cell {
    let open = open_notes(saga, now);
    if saga.needs_attention {
        let causes: Vec<&str> = saga.attention.iter().map(|a| a.cause.as_str()).collect();
        let text = format!("needs attention {}", causes.join(", "));
        let parts = std::iter::once(text.trim_end().to_owned()).chain(open);
        return Cell::new(parts.collect::<Vec<_>>().join("; "), Tone::Bad);
    }
    if !open.is_empty() {
        return Cell::new(open.join("; "), Tone::Dim);
    }
    saga.error
        .as_ref()
        .map_or_else(|| "".into(), |e| Cell::new(error(e), Tone::Dim))
}

/// What has failed and is tried again. Lists have steps only where they were asked for by what is open.
fn open_notes(saga: &Saga, now: DateTime<Utc>) -> Vec<String> {
    let operations = |step: &SagaStep| {
        let both = [step.action.clone(), step.compensation.clone()];
        let name = step_name(&step.name, step.index);
        both.into_iter()
            .flatten()
            .map(move |operation| (name.clone(), operation))
    };
    saga.steps
        .iter()
        .flat_map(operations)
        .filter(|(_, operation)| operation.state() == OperationState::Retrying)
        .filter_map(|(name, operation)| {
            let note = operation_note(&operation, now)?;
            Some(format!("{name} try {}: {note}", operation.attempts))
        })
        .collect()
}

/// What is true of the saga as a whole, one fact a line.
pub(crate) fn header(saga: &Saga, now: DateTime<Utc>) -> Table {
    let mut table = Table::plain();
    let mut fact = |name: &str, value: Cell| table.row(vec![Cell::new(name, Tone::Dim), value]);
    fact("saga", Cell::new(&saga.saga_id, Tone::Bold));
    let (version, revision) = (saga.definition_version, saga.definition_revision);
    fact(
        "type",
        format!("{} version {version} revision {revision}", saga.r#type).into(),
    );
    fact("business id", saga.business_id.as_str().into());
    fact("state", state(saga));
    if !saga.current_step.is_empty() {
        fact("step", saga.current_step.as_str().into());
    }
    if let Some(failed) = &saga.error {
        let step = if failed.step.is_empty() {
            String::new()
        } else {
            format!("{}: ", failed.step)
        };
        fact("error", Cell::new(format!("{step}{}", error(failed)), Tone::Bad));
    }
    for attention in &saga.attention {
        let step = if attention.step.is_empty() {
            String::new()
        } else {
            format!(" in {}", attention.step)
        };
        let since = time::ago(attention.since.as_ref(), now);
        let detail = if attention.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", attention.detail)
        };
        let text = format!("{}{step}, since {since}{detail}", attention.cause);
        fact("attention", Cell::new(text, Tone::Bad));
    }
    let ended = saga.completed_at.as_ref().or(saga.compensated_at.as_ref());
    fact("started", time::ago(saga.created_at.as_ref(), now).into());
    if let (Some(start), Some(end)) = (time::instant(saga.created_at.as_ref()), time::instant(ended)) {
        fact("took", time::span(end - start).into());
    } else if saga.deadline_at.is_some() {
        fact("deadline", time::relative(saga.deadline_at.as_ref(), now).into());
    }
    if !has_ended(saga.phase()) {
        let committed = if saga.committed {
            "yes: it only goes forward"
        } else {
            "no: it can still unwind"
        };
        fact("committed", committed.into());
        fact("owner", saga.owner.as_str().into());
    }
    if !saga.allowed_actions.is_empty() {
        fact("allowed", Cell::new(allowed(saga), Tone::Dim));
    }
    fact("version", saga.state_version.to_string().into());
    fact("input", shortened(&saga.input_json).into());
    table
}

/// What an operator may do, in the order of the answer: `retry RESERVE_QUOTA, pause`.
fn allowed(saga: &Saga) -> String {
    let names = saga.allowed_actions.iter().map(|allowed| {
        let name = action_name(allowed.action());
        if allowed.step.is_empty() {
            name.to_owned()
        } else {
            format!("{name} {}", step_name(&allowed.step, allowed.index))
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Cuts a long text, so that one saga stays one screen; `-o json` has all of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_INPUT_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes, all of it with -o json)", &text[..end], text.len()),
    }
}

/// The steps as a table, in the order of the definition.
pub(crate) fn steps(steps: &[SagaStep], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["#", "STEP", "ACTION", "TRIES", "COMPENSATION", "TRIES", "NOTE"]);
    for step in steps {
        let name = step_name(&step.name, step.index);
        let (action, action_tries) = operation(step.action.as_ref());
        let (compensation, compensation_tries) = operation(step.compensation.as_ref());
        let note = [step.action.as_ref(), step.compensation.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|operation| operation_note(operation, now))
            .collect::<Vec<_>>()
            .join("; ");
        table.row(vec![
            step.order.to_string().into(),
            name.into(),
            action,
            action_tries,
            compensation,
            compensation_tries,
            Cell::new(note, Tone::Dim),
        ]);
    }
    table
}

fn operation(operation: Option<&Operation>) -> (Cell, Cell) {
    let Some(operation) = operation else {
        return (Cell::new("none", Tone::Dim), "".into());
    };
    let (name, tone) = match operation.state() {
        OperationState::Unspecified => ("unknown", Tone::Bad),
        OperationState::NotStarted => ("-", Tone::Dim),
        OperationState::Running => ("running", Tone::Plain),
        OperationState::Retrying => ("retrying", Tone::Warn),
        OperationState::Pending => ("pending", Tone::Plain),
        OperationState::Succeeded => ("succeeded", Tone::Good),
        OperationState::Refused => ("refused", Tone::Bad),
        OperationState::Abandoned => ("abandoned", Tone::Warn),
        OperationState::Skipped => ("skipped", Tone::Dim),
    };
    let tries = if operation.attempts == 0 {
        String::new()
    } else {
        operation.attempts.to_string()
    };
    (Cell::new(name, tone), tries.into())
}

fn operation_note(operation: &Operation, now: DateTime<Utc>) -> Option<String> {
    let failed = operation.last_error.as_ref().map(error);
    let waits = (operation.wait.is_some() || operation.next_retry_at.is_some()).then(|| {
        let waits = waits::wait(operation, now);
        if operation.wait.is_some() {
            format!("waits for {waits}")
        } else {
            waits
        }
    });
    let parts: Vec<String> = [failed, waits].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Prints history lines that line up, also when they are printed one by one.
#[derive(Debug)]
pub(crate) struct Timeline {
    origin: Option<DateTime<Utc>>,
    widths: [usize; 4],
}

impl Timeline {
    /// Makes the timeline of a saga; offsets count from its creation.
    pub(crate) fn of(saga: &Saga) -> Self {
        let longest = saga.steps.iter().map(|step| step.name.chars().count()).max();
        Self {
            origin: time::instant(saga.created_at.as_ref()),
            widths: [9, longest.unwrap_or(0), "compensation".len(), "succeeded".len()],
        }
    }

    /// Returns some events as a table without headings.
    pub(crate) fn table(&self, events: &[SagaEvent]) -> Table {
        let mut table = Table::plain().widths(&self.widths);
        for event in events {
            table.row(self.row(event));
        }
        table
    }

    fn row(&self, event: &SagaEvent) -> Vec<Cell> {
        let step = step_name(&event.step, event.index);
        vec![
            Cell::new(
                format!("{:>9}", time::offset(event.at.as_ref(), self.origin)),
                Tone::Dim,
            ),
            step.into(),
            event.op.as_str().into(),
            Cell::new(&event.kind, event_tone(&event.kind)),
            Cell::new(event_note(event), Tone::Dim),
        ]
    }
}

/// Colour of an event. Kinds that are not known here have none: the list of kinds may grow.
fn event_tone(kind: &str) -> Tone {
    match kind {
        "succeeded" | "completed" | "committed" => Tone::Good,
        "failed" | "unwinding" | "attention" | "compensated" => Tone::Warn,
        "refused" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn event_note(event: &SagaEvent) -> String {
    let mut parts = Vec::new();
    if event.action() != OperatorAction::Unspecified {
        parts.push(action_name(event.action()).to_owned());
    }
    if event.attempt > 1 {
        parts.push(format!("attempt {}", event.attempt));
    }
    if let Some(took) = &event.duration {
        parts.push(format!("took {}", time::duration(took)));
    }
    if let Some(failed) = &event.error {
        parts.push(error(failed));
    }
    if let (Some(at), Some(next)) = (
        time::instant(event.at.as_ref()),
        time::instant(event.next_retry_at.as_ref()),
    ) {
        parts.push(format!("again after {}", time::span(next - at)));
    }
    if !event.actor.is_empty() {
        parts.push(format!("by {}", event.actor));
    }
    if !event.note.is_empty() {
        parts.push(why(&event.note, &event.evidence));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use proto::saga::v1::Attention;

    use super::*;

    const START: i64 = 1_700_000_000;

    fn at(millis: i64) -> Option<Timestamp> {
        let nanos = i32::try_from(millis % 1_000 * 1_000_000).unwrap();
        Some(Timestamp {
            seconds: START + millis / 1_000,
            nanos,
        })
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(START + 65, 0).unwrap()
    }

    fn refused() -> SagaError {
        SagaError {
            step: "RUN_PIPELINE".to_owned(),
            code: "FAILED_PRECONDITION".to_owned(),
            reason: "PIPELINE_FAILED".to_owned(),
            domain: "task.evenkeel".to_owned(),
            message: "the provider answered 500".to_owned(),
        }
    }

    fn step(
        order: u32,
        name: &str,
        action: OperationState,
        compensation: Option<OperationState>,
    ) -> SagaStep {
        let operation = |state: OperationState| Operation {
            state: state.into(),
            attempts: u32::from(state != OperationState::NotStarted),
            ..Operation::default()
        };
        SagaStep {
            name: name.to_owned(),
            order,
            action: Some(operation(action)),
            compensation: compensation.map(operation),
            ..SagaStep::default()
        }
    }

    fn saga() -> Saga {
        let mut saga = Saga {
            saga_id: "saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b".to_owned(),
            r#type: "TASK_RUN".to_owned(),
            definition_version: 1,
            definition_revision: 1,
            business_id: "task_7".to_owned(),
            input_json: r#"{"amount":1}"#.to_owned(),
            created_at: at(0),
            compensated_at: at(1_500),
            error: Some(refused()),
            steps: vec![
                step(
                    1,
                    "RESERVE_QUOTA",
                    OperationState::Succeeded,
                    Some(OperationState::Succeeded),
                ),
                step(
                    2,
                    "RUN_PIPELINE",
                    OperationState::Refused,
                    Some(OperationState::NotStarted),
                ),
                step(3, "CONFIRM_QUOTA", OperationState::NotStarted, None),
            ],
            ..Saga::default()
        };
        saga.set_phase(SagaPhase::Compensated);
        saga.set_reason(SagaReason::Refused);
        saga.steps[1].action.as_mut().unwrap().last_error = Some(refused());
        saga
    }

    #[test]
    fn an_ended_saga_shows_why_it_ended_and_how_long_it_took() {
        insta::assert_snapshot!(header(&saga(), now()).render(false), @r#"
        saga         saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
        type         TASK_RUN version 1 revision 1
        business id  task_7
        state        COMPENSATED (REFUSED)
        error        RUN_PIPELINE: PIPELINE_FAILED (task.evenkeel): the provider answered 500
        started      65s ago
        took         1.5s
        version      0
        input        {"amount":1}
        "#);
    }

    #[test]
    fn a_long_input_is_cut() {
        let mut saga = saga();
        saga.input_json = format!("{{\"text\":\"{}\"}}", "é".repeat(1_000));
        let text = header(&saga, now()).render(false);
        assert!(text.contains("… (2011 bytes, all of it with -o json)"), "{text}");
    }

    #[test]
    fn a_running_saga_shows_owner_deadline_and_attention() {
        let mut saga = saga();
        saga.set_phase(SagaPhase::Running);
        saga.set_reason(SagaReason::Unspecified);
        saga.compensated_at = None;
        saga.error = None;
        saga.owner = "host:7101".to_owned();
        saga.current_step = "RUN_PIPELINE".to_owned();
        saga.deadline_at = at(95_000);
        saga.attention = vec![Attention {
            cause: "UNREACHABLE".to_owned(),
            step: "RUN_PIPELINE".to_owned(),
            since: at(5_000),
            ..Attention::default()
        }];
        insta::assert_snapshot!(header(&saga, now()).render(false), @r#"
        saga         saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
        type         TASK_RUN version 1 revision 1
        business id  task_7
        state        RUNNING
        step         RUN_PIPELINE
        attention    UNREACHABLE in RUN_PIPELINE, since 60s ago
        started      65s ago
        deadline     in 30s
        committed    no: it can still unwind
        owner        host:7101
        version      0
        input        {"amount":1}
        "#);
    }

    #[test]
    fn steps_show_both_operations_and_the_last_error() {
        insta::assert_snapshot!(steps(&saga().steps, now()).render(false), @r"
        #  STEP           ACTION     TRIES  COMPENSATION  TRIES  NOTE
        1  RESERVE_QUOTA  succeeded  1      succeeded     1
        2  RUN_PIPELINE   refused    1      -                    PIPELINE_FAILED (task.evenkeel): the provider answered 500
        3  CONFIRM_QUOTA  -                 none
        ");
    }

    #[test]
    fn the_list_has_one_line_a_saga() {
        insta::assert_snapshot!(list(&[saga()], now()).render(false), @r"
        SAGA                                   TYPE      BUSINESS ID  STATE                  STEP  STARTED  NOTE
        saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b  TASK_RUN  task_7       COMPENSATED (REFUSED)        65s ago  PIPELINE_FAILED (task.evenkeel): the provider answered 500
        ");
    }

    #[test]
    fn timeline_lines_line_up_when_printed_one_by_one() {
        let event = |seq, millis, kind: &str, step: &str, op: &str| SagaEvent {
            seq,
            at: at(millis),
            kind: kind.to_owned(),
            step: step.to_owned(),
            op: op.to_owned(),
            attempt: 1,
            ..SagaEvent::default()
        };
        let mut failed = event(3, 1_250, "failed", "RUN_PIPELINE", "action");
        failed.attempt = 2;
        failed.error = Some(refused());
        failed.next_retry_at = at(1_650);
        failed.duration = Some(prost_types::Duration {
            seconds: 0,
            nanos: 8_000_000,
        });
        let mut cancelled = event(4, 2_000, "cancel_requested", "", "");
        cancelled.actor = "ann (cli)".to_owned();
        let mut skipped = event(5, 3_000, "operator", "RESERVE_QUOTA", "compensation");
        skipped.actor = "ann (cli)".to_owned();
        skipped.set_action(OperatorAction::SkipStep);
        skipped.note = "given back by hand".to_owned();
        skipped.evidence = "grant 812".to_owned();
        let events = [
            event(1, 0, "started", "", ""),
            event(2, 12, "succeeded", "RESERVE_QUOTA", "action"),
            failed,
            cancelled,
            skipped,
        ];
        let timeline = Timeline::of(&saga());
        let together = timeline.table(&events[..3]).render(false);
        let singly: String = events[..3]
            .iter()
            .map(|e| timeline.table(std::slice::from_ref(e)).render(false))
            .collect();
        assert_eq!(together, singly);
        insta::assert_snapshot!(timeline.table(&events).render(false), @r"
        +0.000s                               started
        +0.012s  RESERVE_QUOTA  action        succeeded
        +1.250s  RUN_PIPELINE   action        failed            attempt 2, took 8ms, PIPELINE_FAILED (task.evenkeel): the provider answered 500, again after 400ms
        +2.000s                               cancel_requested  by ann (cli)
        +3.000s  RESERVE_QUOTA  compensation  operator          skip, by ann (cli), given back by hand (evidence: grant 812)
        ");
    }
}
