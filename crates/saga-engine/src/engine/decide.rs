//! Deciding on one input of one saga.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use saga_core::{Context, Input, Millis, OpKey, Rejected};

use super::live::{Live, Told};
use super::panic_text;
use crate::handle::{Answer, RequestError};
use crate::journal::Transition;

pub(super) enum Decided {
    Nothing,
    Write(Box<Transition>),
    Panicked(String),
}

/// Lets the state machine decide on one input. A panic in it concerns this saga only.
pub(super) fn decide(live: &mut Live, now: Millis, jitter: u32, told: Told) -> Decided {
    let Told {
        input,
        request,
        duration_ms,
        answer,
    } = told;
    let ended: Option<OpKey> = match &input {
        Input::Replied { key, .. } => Some(*key),
        Input::Completed { .. } | Input::Cancel { .. } | Input::Operator { .. } | Input::Tick => None,
    };
    let in_flight = live.actions_in_flight(ended);
    let context = Context {
        at: now,
        jitter,
        in_flight: &in_flight,
    };
    let plan = Arc::clone(&live.identity.plan);
    let state = &mut live.state;
    match catch_unwind(AssertUnwindSafe(|| state.handle(&plan, context, input))) {
        Err(panic) => {
            live.on_durable.extend(answer);
            Decided::Panicked(panic_text(&*panic))
        }
        Ok(Err(rejected)) => {
            if let Some(answer) = answer {
                reject(live, answer, rejected);
            }
            Decided::Nothing
        }
        Ok(Ok(recorded)) if recorded.is_empty() => Decided::Nothing,
        Ok(Ok(recorded)) => {
            log_changes(live, &recorded);
            live.forget_asks();
            live.on_durable.extend(answer);
            Decided::Write(Box::new(live.transition(now, recorded, request, duration_ms)))
        }
    }
}

fn reject(live: &Live, answer: Answer, rejected: Rejected) {
    let result = match rejected {
        Rejected::PastCommitPoint => Err(RequestError::PastCommitPoint),
        // It is as the caller wants it already.
        Rejected::AlreadyUnwinding => Ok(live.seen(false, true)),
        Rejected::Stale
        | Rejected::Ended
        | Rejected::NotOpen
        | Rejected::Answered
        | Rejected::GivenUp
        | Rejected::NotAllowed => Err(RequestError::NotHere),
    };
    // Whoever asked may have gone.
    let _ = answer.send(result);
}

fn log_changes(live: &Live, recorded: &[saga_core::Recorded]) {
    use saga_core::Event;
    for record in recorded {
        match &record.event {
            Event::Unwinding {
                reason, failed_step, ..
            } => tracing::info!(
                saga_id = %live.id(), business_type = %live.identity.saga_type,
                reason = reason.name(), step = failed_step.map(|s| live.identity.plan.name(s)),
                "saga unwinds"
            ),
            Event::Ended { phase } => tracing::info!(
                saga_id = %live.id(), business_type = %live.identity.saga_type, status = phase.name(), "saga ended"
            ),
            Event::DeadlineMissed => {
                tracing::warn!(saga_id = %live.id(), "the deadline passed after the commit point");
            }
            Event::Succeeded { .. }
            | Event::Refused { .. }
            | Event::Failed { .. }
            | Event::Pending { .. }
            | Event::Abandoned { .. }
            | Event::Skipped { .. }
            | Event::LateSuccess { .. }
            | Event::Operator { .. }
            | Event::Committed => {}
        }
    }
}
