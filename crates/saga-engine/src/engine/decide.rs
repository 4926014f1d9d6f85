//! Deciding on one input of one saga.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use saga_core::{Command, Context, Event, Input, Millis, OpKey, Recorded, Rejected};

use super::live::{Live, OnDurable, Told};
use super::traffic::Traffic;
use super::{panic_text, refuse};
use crate::handle::{Answer, RequestError};
use crate::journal::Transition;

pub(super) enum Decided {
    Nothing,
    Write(Box<Transition>),
    Panicked(String),
}

/// Lets the state machine decide on one input. A panic in it concerns this saga only.
pub(super) fn decide(live: &mut Live, traffic: &Traffic, now: Millis, jitter: u32, told: Told) -> Decided {
    let Told {
        input,
        request,
        duration_ms,
        expected_version,
        answer,
    } = told;
    // While a write is under way nothing is decided, so this is the version that everybody else sees, too.
    let version = live.version();
    if expected_version.is_some_and(|expected| expected != version) {
        if let Some(answer) = answer {
            refuse(answer, RequestError::Changed { version });
        }
        return Decided::Nothing;
    }
    let hurried = match &input {
        Input::Operator {
            command: Command::RetryNow(key),
            ..
        } => Some(*key),
        Input::Operator { .. }
        | Input::Replied { .. }
        | Input::Completed { .. }
        | Input::Cancel { .. }
        | Input::Tick => None,
    };
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
            live.on_durable.extend(answer.map(OnDurable::seen));
            Decided::Panicked(panic_text(&*panic))
        }
        Ok(Err(rejected)) => {
            if let Some(answer) = answer {
                reject(live, traffic, answer, rejected);
            }
            Decided::Nothing
        }
        Ok(Ok(recorded)) if recorded.is_empty() => {
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(Ok(live.seen(false, true, traffic)));
            }
            Decided::Nothing
        }
        Ok(Ok(recorded)) => {
            log_changes(live, &recorded);
            live.forget_asks();
            if let Some(key) = hurried {
                live.ask_now(key);
            }
            let given_up = recorded
                .iter()
                .any(|r| matches!(r.event, Event::LateSuccess { .. }));
            live.on_durable
                .extend(answer.map(|answer| OnDurable { answer, given_up }));
            Decided::Write(Box::new(live.transition(now, recorded, request, duration_ms)))
        }
    }
}

fn reject(live: &Live, traffic: &Traffic, answer: Answer, rejected: Rejected) {
    let result = match rejected {
        Rejected::PastCommitPoint => Err(RequestError::PastCommitPoint),
        // It is as the caller wants it already.
        Rejected::AlreadyUnwinding => Ok(live.seen(false, true, traffic)),
        Rejected::Ended => Err(RequestError::Ended),
        Rejected::NotOpen => Err(RequestError::NotOpen),
        Rejected::Answered => Err(RequestError::Answered),
        Rejected::GivenUp => Err(RequestError::GivenUp),
        Rejected::NotAllowed => Err(RequestError::NotAllowed),
        Rejected::Stale => Err(RequestError::NotHere),
    };
    // Whoever asked may have gone.
    let _ = answer.send(result);
}

fn log_changes(live: &Live, recorded: &[Recorded]) {
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
            Event::LateSuccess { key, .. } => tracing::warn!(
                saga_id = %live.id(), step = live.identity.plan.name(key.step),
                "a step that was given up has succeeded after all"
            ),
            Event::Operator {
                action, key, note, ..
            } => tracing::info!(
                saga_id = %live.id(), actor = record.actor.as_deref(), action = action.name(),
                step = key.map(|key| live.identity.plan.name(key.step)), reason = &**note, "an operator acted"
            ),
            Event::Succeeded { .. }
            | Event::Refused { .. }
            | Event::Failed { .. }
            | Event::Pending { .. }
            | Event::Abandoned { .. }
            | Event::Skipped { .. }
            | Event::Committed => {}
        }
    }
}
