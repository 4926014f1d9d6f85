//! What has changed about a saga since somebody decided something, in one line.

use chrono::{DateTime, SecondsFormat, Utc};
use ids::SagaId;
use proto::saga::v1 as pb;

use crate::app::history;
use crate::app::read::Found;
use crate::app::view::timestamp;

/// Most entries told; of more, the latest.
const MAX_TOLD: usize = 8;

/// The saga is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The saga.
    pub saga: SagaId,
    /// What the operator had decided on.
    pub expected_version: u32,
    /// What it is.
    pub version: u32,
    /// What has happened in between.
    pub since: String,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            saga,
            expected_version,
            version,
            since,
        } = self;
        write!(f, "{saga} is at version {version}, not {expected_version}")?;
        if since.is_empty() {
            return Ok(());
        }
        write!(f, "; since then: {since}")
    }
}

/// Tells what happened after `expected_version`.
pub(crate) fn since(found: &Found, expected_version: u32) -> Changed {
    let shown = found.shown();
    let history = history::render(&shown, &found.stored.actor);
    // The end is no entry, but counts as a change; what is noted afterwards has numbers that are behind by one.
    let ended = found
        .stored
        .ended_at
        .map(timestamp)
        .map(|at| (at.seconds, at.nanos));
    let noted_later = |event: &&pb::SagaEvent| {
        let at = event.at.map(|at| (at.seconds, at.nanos));
        event.action() == pb::OperatorAction::Acknowledge && ended.is_some() && at >= ended
    };
    let (later, before): (Vec<_>, Vec<_>) = history.iter().partition(noted_later);
    let mut told: Vec<(u32, String)> = before.iter().map(|event| (event.seq, line(event))).collect();
    if ended.is_some() {
        let version = before.last().map_or(0, |event| event.seq) + 1;
        told.push((version, format!("ended {}", found.state.phase().name())));
    }
    told.extend(later.iter().map(|event| (event.seq + 1, line(event))));
    told.retain(|(version, _)| *version > expected_version);
    let untold = told.len().saturating_sub(MAX_TOLD);
    let mut lines: Vec<String> = told.drain(untold..).map(|(_, line)| line).collect();
    if untold > 0 {
        lines.insert(0, format!("{untold} earlier changes"));
    }
    Changed {
        saga: found.stored.id,
        expected_version,
        version: found.version(),
        since: lines.join(", "),
    }
}

/// `operator retry_now ONE/action by alice at 2026-11-21T03:04:05Z`.
fn line(event: &pb::SagaEvent) -> String {
    let mut words = vec![event.kind.clone()];
    if event.action != 0
        && let Ok(action) = pb::OperatorAction::try_from(event.action)
    {
        let name = action.as_str_name();
        words.push(
            name.strip_prefix("OPERATOR_ACTION_")
                .unwrap_or(name)
                .to_ascii_lowercase(),
        );
    }
    if !event.step.is_empty() {
        let index = if event.index == 0 {
            String::new()
        } else {
            format!("[{}]", event.index)
        };
        let op = if event.op.is_empty() {
            String::new()
        } else {
            format!("/{}", event.op)
        };
        words.push(format!("{}{index}{op}", event.step));
    }
    if !event.actor.is_empty() {
        words.push(format!("by {}", event.actor));
    }
    if let Some(at) = &event.at
        && let Some(at) = DateTime::<Utc>::from_timestamp(at.seconds, u32::try_from(at.nanos).unwrap_or(0))
    {
        words.push(format!("at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true)));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn a_change_is_told_in_one_line() {
        let event = pb::SagaEvent {
            seq: 6,
            kind: "operator".to_owned(),
            step: "ONE".to_owned(),
            op: "action".to_owned(),
            actor: "alice".to_owned(),
            action: pb::OperatorAction::RetryNow.into(),
            at: Some(Timestamp {
                seconds: 1_795_230_245,
                nanos: 0,
            }),
            ..pb::SagaEvent::default()
        };
        assert_eq!(
            line(&event),
            "operator retry_now ONE/action by alice at 2026-11-21T03:04:05Z"
        );
    }
}
