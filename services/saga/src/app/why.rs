//! What an operation that is open and not in flight waits for.

use proto::saga::v1 as pb;
use saga_core::{Millis, Open};
use saga_engine::Wait;

use crate::app::view::timestamp;

/// Renders what the engine knows. Nothing for an operation that is in flight.
pub(crate) fn of_engine(wait: &Wait) -> Option<pb::Wait> {
    let shown = |kind: pb::WaitKind, until: Option<Millis>, text: String| {
        Some(pb::Wait {
            kind: kind.into(),
            until: until.map(timestamp),
            text,
        })
    };
    match wait {
        Wait::Answer | Wait::Drain { .. } => None,
        Wait::Retry { at } => shown(pb::WaitKind::Backoff, Some(*at), "its next attempt".to_owned()),
        Wait::AskAgain { at } => shown(
            pb::WaitKind::Pending,
            Some(*at),
            "the participant, which works on it".to_owned(),
        ),
        Wait::Place { participant } => {
            let text = format!("as many calls to participant {participant} as may be are in flight");
            shown(pb::WaitKind::Concurrency, None, text)
        }
        Wait::Circuit { participant, until } => {
            let text =
                format!("participant {participant} failed many calls in a row; one is tried now and then");
            shown(pb::WaitKind::CircuitOpen, *until, text)
        }
        Wait::Instance => shown(
            pb::WaitKind::Concurrency,
            None,
            "the instance has as many calls as it may have, or does not hold its lease".to_owned(),
        ),
        Wait::TypePaused => shown(
            pb::WaitKind::Paused,
            None,
            "an operator paused the type".to_owned(),
        ),
        Wait::Paused => shown(
            pb::WaitKind::Paused,
            None,
            "an operator paused the saga".to_owned(),
        ),
    }
}

/// Renders what the journal alone tells.
pub(crate) fn of_state(open: &Open, parked: bool, paused: bool) -> Option<pb::Wait> {
    let (kind, text) = if parked {
        (
            pb::WaitKind::Quarantined,
            "the saga is parked; an operator releases it",
        )
    } else if paused {
        (pb::WaitKind::Paused, "an operator paused the saga or its type")
    } else if open.pending {
        (pb::WaitKind::Pending, "the participant, which works on it")
    } else if open.next_at.is_some() {
        (pb::WaitKind::Backoff, "its next attempt")
    } else {
        return None;
    };
    Some(pb::Wait {
        kind: kind.into(),
        until: open
            .next_at
            .filter(|_| kind == pb::WaitKind::Backoff)
            .map(timestamp),
        text: text.to_owned(),
    })
}
