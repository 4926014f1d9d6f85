//! How a saga's history is shown.

use prost_types::Duration;
use proto::saga::v1 as pb;
use saga_core::{Event, Op, Plan};
use saga_engine::Entry;

use crate::app::allowed;
use crate::app::operations::operation_of;
use crate::app::view::{Shown, proto_error, timestamp};

/// Renders the history; `seq` counts from 1, after the start itself.
pub(crate) fn render(shown: &Shown<'_>, started_by: &str) -> Vec<pb::SagaEvent> {
    let started = pb::SagaEvent {
        at: Some(timestamp(shown.created_at)),
        kind: "started".to_owned(),
        actor: started_by.to_owned(),
        ..pb::SagaEvent::default()
    };
    let numbered = (1..).zip(shown.entries);
    std::iter::once(started)
        .chain(numbered.map(|(seq, entry)| event(seq, entry, shown.plan)))
        .collect()
}

fn event(seq: u32, entry: &Entry, plan: &Plan) -> pb::SagaEvent {
    let recorded = &entry.recorded;
    let operation = operation_of(&recorded.event);
    let mut shown = pb::SagaEvent {
        seq,
        at: Some(timestamp(recorded.at)),
        kind: kind(&recorded.event).to_owned(),
        actor: recorded.actor.as_deref().unwrap_or_default().to_owned(),
        request_json: entry
            .request
            .as_ref()
            .map_or_else(String::new, |request| request.json().to_owned()),
        duration: entry.duration_ms.map(duration),
        ..pb::SagaEvent::default()
    };
    if let Some((key, attempt)) = operation {
        plan.name(key.step).clone_into(&mut shown.step);
        shown.index = key.index;
        op_name(key.op).clone_into(&mut shown.op);
        shown.attempt = attempt.unwrap_or(0);
    }
    match &recorded.event {
        Event::Succeeded { reply, .. } | Event::LateSuccess { reply, .. } => {
            reply.json().clone_into(&mut shown.reply_json);
        }
        Event::Refused { error, .. } => shown.error = Some(proto_error(error, shown.step.clone())),
        Event::Failed { failure, .. } => {
            shown.error = Some(proto_error(&failure.error, shown.step.clone()));
            shown.next_retry_at = failure.next_at.map(timestamp);
        }
        Event::Unwinding {
            reason,
            failed_step,
            error,
            ..
        } => {
            let step = failed_step.map_or_else(String::new, |step| plan.name(step).to_owned());
            shown.step.clone_from(&step);
            let error = error.as_ref().map(|error| proto_error(error, step));
            shown.error = error.or_else(|| {
                Some(pb::SagaError {
                    reason: reason.name().to_owned(),
                    ..pb::SagaError::default()
                })
            });
        }
        Event::Operator {
            action,
            note,
            evidence,
            ..
        } => {
            shown.action = allowed::proto_action(*action).into();
            shown.note = note.to_string();
            shown.evidence = evidence.to_string();
        }
        Event::Pending { .. }
        | Event::Abandoned { .. }
        | Event::Skipped { .. }
        | Event::Committed
        | Event::DeadlineMissed
        | Event::Ended { .. } => {}
    }
    shown
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Succeeded { .. } => "succeeded",
        Event::Refused { .. } => "refused",
        Event::Failed { .. } => "failed",
        Event::Pending { .. } => "pending",
        Event::Abandoned { .. } => "abandoned",
        Event::Skipped { .. } => "skipped",
        Event::LateSuccess { .. } => "late_success",
        Event::Operator { .. } => "operator",
        Event::Unwinding { .. } => "unwinding",
        Event::Committed => "committed",
        Event::DeadlineMissed => "deadline_missed",
        Event::Ended { .. } => "ended",
    }
}

const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Action => "action",
        Op::Compensation => "compensation",
    }
}

fn duration(ms: u32) -> Duration {
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).expect("below a second");
    Duration {
        seconds: i64::from(ms / 1_000),
        nanos,
    }
}
