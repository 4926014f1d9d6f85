//! What operators do about one saga.

use std::sync::Arc;
use std::time::Duration;

use proto::saga::v1 as pb;
use saga_core::{Allowed, Command, Op, OpKey, OperatorAction, Payload};
use saga_engine::{OperatorRequest as EngineRequest, RequestError, Seen};

use crate::app::orders::{OperatorRequest, Order, Target, What, named_actor};
use crate::app::read::Found;
use crate::app::reply::{self, MAX_REPLY_BYTES, Misfit};
use crate::app::{App, Caller, Error, allowed, changed, needs};

/// A saga that this instance owns but does not drive yet (it starts, or has just taken over) is asked again this often.
const MAX_ROUNDS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// What an order means for the saga as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Todo {
    /// Something that its state machine decides on.
    Command(Command),
    /// Nobody drives it; it is to be driven again.
    Release,
}

impl App {
    /// Does what an operator asks for, wherever the saga is driven.
    pub(crate) async fn operate<Q: OperatorRequest>(
        &self,
        caller: Caller,
        request: Q,
    ) -> Result<Q::Response, Error> {
        let actor: Arc<str> = named_actor(&caller)?.into();
        let order = request.order()?;
        for _ in 0..MAX_ROUNDS {
            let found = self.read(order.saga).await?;
            let todo = todo(&found, &order)?;
            // Nobody drives a saga that has ended, so whoever is asked writes down what is noted of it.
            if found.stored.owner != *self.instance && !found.state.phase().is_ended() {
                let address = found.stored.owner_address.filter(|_| !caller.forwarded);
                let address = address.ok_or(Error::OwnerAway(order.saga))?;
                return self.peers.forward(&address, Q::PATH, &caller, request).await;
            }
            match self.perform(&order, &actor, todo).await {
                Ok(seen) => {
                    tracing::info!(
                        saga_id = %order.saga, actor = &*actor, action = order.what.action().name(), reason = order.note,
                        "an operator acted"
                    );
                    return Ok(Q::response(self.show_seen(&seen).await?));
                }
                Err(RequestError::NotHere) => {
                    self.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
                // Somebody was faster: the next look at the journal says who, and what is allowed now.
                Err(RequestError::Changed { .. } | RequestError::NotAllowed) => {}
                Err(error) => return Err(Error::of_engine(error, order.saga)),
            }
        }
        Err(Error::OwnerAway(order.saga))
    }
}

impl App {
    async fn perform(&self, order: &Order, actor: &Arc<str>, todo: Todo) -> Result<Seen, RequestError> {
        let (actor, note) = (Arc::clone(actor), Arc::from(order.note.as_str()));
        let expected_version = order.expected_version;
        match todo {
            Todo::Command(command) => {
                let request = EngineRequest {
                    actor,
                    note,
                    evidence: order.evidence.as_str().into(),
                    command,
                    expected_version,
                };
                self.engine.operate(order.saga, request).await
            }
            Todo::Release => {
                self.engine
                    .release(order.saga, actor, note, expected_version)
                    .await
            }
        }
    }

    async fn show_seen(&self, seen: &Seen) -> Result<pb::Saga, Error> {
        match &seen.snapshot {
            Some(snapshot) => self.show_snapshot(snapshot).await,
            None => Ok(self.read(seen.saga).await?.shown().render()),
        }
    }
}

impl What {
    pub(crate) const fn action(&self) -> OperatorAction {
        match self {
            Self::RetryNow(_) => OperatorAction::RetryNow,
            Self::ResolveSucceeded { .. } => OperatorAction::ResolveSucceeded,
            Self::ResolveFailed(_) => OperatorAction::ResolveFailed,
            Self::Skip(_) => OperatorAction::Skip,
            Self::Compensate => OperatorAction::Compensate,
            Self::Resolve => OperatorAction::Resolve,
            Self::Pause => OperatorAction::Pause,
            Self::Resume => OperatorAction::Resume,
            Self::Release => OperatorAction::Release,
            Self::Acknowledge => OperatorAction::Acknowledge,
        }
    }

    pub(crate) const fn target(&self) -> Option<&Target> {
        match self {
            Self::RetryNow(target) => target.as_ref(),
            Self::ResolveSucceeded { target, .. } | Self::ResolveFailed(target) | Self::Skip(target) => {
                Some(target)
            }
            Self::Compensate
            | Self::Resolve
            | Self::Pause
            | Self::Resume
            | Self::Release
            | Self::Acknowledge => None,
        }
    }
}

/// Finds out what is to be done, or why it cannot be.
fn todo(found: &Found, order: &Order) -> Result<Todo, Error> {
    // Only newer things can have happened since the journal was read, so a difference is the last word.
    if found.version() != order.expected_version {
        let changed = changed::since(found, order.expected_version);
        return Err(Error::Changed(Box::new(changed)));
    }
    let phase = found.state.phase();
    if phase.is_ended() && order.what != What::Acknowledge {
        let saga = order.saga;
        return Err(Error::Ended { saga, phase });
    }
    let key = order
        .what
        .target()
        .map(|target| key_of(found, target))
        .transpose()?;
    let wanted = Allowed {
        action: order.what.action(),
        key,
    };
    let allowed = allowed::list(&found.state, found.plan(), found.is_parked());
    if !allowed.contains(&wanted) {
        return Err(not_allowed(found, wanted, now_allowed(found)));
    }
    let command = match (&order.what, key) {
        (What::Release, _) => return Ok(Todo::Release),
        (What::RetryNow(_), key) => Command::RetryNow(key),
        (What::ResolveSucceeded { reply_json, .. }, Some(key)) => {
            Command::ResolveSucceeded(key, reply_for(found, key, reply_json)?)
        }
        (What::ResolveFailed(_), Some(key)) => Command::ResolveFailed(key),
        (What::Skip(_), Some(key)) => {
            check_skip(found, key, wanted)?;
            Command::Skip(key)
        }
        (What::Compensate, _) => Command::Compensate,
        (What::Resolve, _) => Command::Resolve,
        (What::Pause, _) => Command::Pause,
        (What::Resume, _) => Command::Resume,
        (What::Acknowledge, _) => Command::Acknowledge,
        (What::ResolveSucceeded { .. } | What::ResolveFailed(_) | What::Skip(_), None) => {
            return Err(Error::invalid("step", "must name a step"));
        }
    };
    Ok(Todo::Command(command))
}

fn key_of(found: &Found, target: &Target) -> Result<OpKey, Error> {
    let plan = found.plan();
    let step = plan.position(&target.step).or_else(|| {
        let epilogue = plan.epilogue()?;
        (*epilogue.name == *target.step).then(|| plan.epilogue_step())
    });
    let step = step.ok_or_else(|| Error::step_unknown(&found.stored.definition.name, &target.step, plan))?;
    let key = OpKey {
        step,
        index: target.index,
        op: target.op,
    };
    if found.state.op(key).is_none() {
        return Err(Error::invalid(
            "index",
            format!("{} has no index {}", target.step, target.index),
        ));
    }
    if found.compiled().operation(key).is_none() {
        return Err(Error::invalid(
            "op",
            format!("{} has no compensation", target.step),
        ));
    }
    Ok(key)
}

/// Reads the reply that an operator gives for an operation.
fn reply_for(found: &Found, key: OpKey, json: &str) -> Result<Payload, Error> {
    let field = "reply_json";
    let compiled = found.compiled();
    let operation = compiled
        .operation(key)
        .ok_or_else(|| Error::invalid("step", "has no such operation"))?;
    let reply = reply::of_json(&operation.reply, json).map_err(|misfit| match misfit {
        Misfit::TooLarge { found_bytes } => Error::TooLarge {
            field,
            found_bytes,
            max_bytes: MAX_REPLY_BYTES,
        },
        Misfit::Field { .. } => Error::invalid(field, misfit.to_string()),
    })?;
    if key.op == Op::Action
        && let Some(missing) = needs::missing(compiled.definition(), usize::from(key.step), Some(&reply))
    {
        let problem = format!("{} could not be called: {}", missing.reader, missing.what);
        return Err(Error::invalid(field, problem));
    }
    let json =
        saga_definition::encode_json(&reply).map_err(|error| Error::invalid(field, error.to_string()))?;
    Ok(Payload::with_decoded(json, Arc::new(reply)))
}

/// Refuses to leave out an action whose reply a later step cannot do without.
fn check_skip(found: &Found, key: OpKey, wanted: Allowed) -> Result<(), Error> {
    let definition = found.compiled().definition();
    let missing = (key.op == Op::Action)
        .then(|| needs::missing(definition, usize::from(key.step), None))
        .flatten();
    match missing {
        None => Ok(()),
        Some(missing) => {
            let why = format!(
                "{} reads its reply ({}); resolve it as succeeded, with a reply",
                missing.reader, missing.what
            );
            Err(not_allowed(found, wanted, why))
        }
    }
}

fn now_allowed(found: &Found) -> String {
    let plan = found.plan();
    let allowed = allowed::list(&found.state, plan, found.is_parked());
    match &*allowed::text(&allowed, plan) {
        "" => "nothing is allowed now".to_owned(),
        text => format!("allowed now: {text}"),
    }
}

fn not_allowed(found: &Found, wanted: Allowed, why: String) -> Error {
    Error::NotAllowed {
        saga: found.stored.id,
        action: allowed::name(wanted, found.plan()),
        why,
    }
}
