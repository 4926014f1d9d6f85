//! Participants: what the engine asks of the services whose methods are steps.

use std::future::Future;
use std::sync::Arc;

use saga_core::{OpKey, Outcome, Payload, StepError};

use crate::engine::Circuit;
use crate::journal::{DefinitionId, Identity};

/// One call of a step.
#[derive(Debug, Clone)]
pub struct Call {
    /// The saga.
    pub saga: Arc<Identity>,
    /// Which operation.
    pub key: OpKey,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Epoch of this instance.
    pub epoch: u64,
    /// Longest time the attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether a definite "no" is an answer the saga can act on.
    pub refusable: bool,
    /// Whether the participant is to be asked what became of the action, instead of being called again.
    pub probe: bool,
    /// Replies of the steps' actions, by position; absent where a step has not succeeded.
    pub replies: Arc<[Option<Payload>]>,
    /// Why the saga unwinds; empty while it goes forward.
    pub reason: &'static str,
    /// Name of the step that made it unwind; empty if none did.
    pub failed_step: String,
    /// What made it unwind, if anything.
    pub error: Option<StepError>,
}

/// What an attempt brought.
#[derive(Debug)]
pub struct Answer {
    /// What was sent, if a request could be made.
    pub request: Option<Payload>,
    /// What came of it.
    pub result: CallResult,
}

/// What came of a call.
#[derive(Debug)]
pub enum CallResult {
    /// Something the state machine understands.
    Outcome(Outcome),
    /// Not final: ask again after this many milliseconds.
    Pending {
        /// How long to wait, in milliseconds.
        ask_again_ms: u64,
    },
    /// The participant has seen a compensation of this operation: our state is stale and must be loaded again.
    Superseded,
}

/// Names a participant: its position in [`Participants::participants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParticipantId(pub usize);

/// A participant, as far as the engine tells one from another.
#[derive(Debug, Clone)]
pub struct Participant {
    /// Name, for metrics and people.
    pub name: Arc<str>,
    /// Most calls at the same time; `Config::participant_limit` if absent.
    pub limit: Option<usize>,
}

/// A participant, as the engine sees it at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantStatus {
    /// Name.
    pub name: Arc<str>,
    /// Its circuit.
    pub circuit: Circuit,
    /// Calls in flight.
    pub in_flight: usize,
    /// Most calls in flight.
    pub limit: usize,
    /// Calls that wait for a place or for the circuit.
    pub waiting: usize,
}

/// The services whose methods are steps.
pub trait Participants: Send + Sync + 'static {
    /// Lists the participants. Asked once, when the engine is made.
    fn participants(&self) -> Vec<Participant>;

    /// Tells which participant answers an operation, or its probe. Called before every call, so it must be cheap and must not wait.
    ///
    /// Without one, only the limit on all calls holds the call back.
    fn participant(&self, definition: DefinitionId, key: OpKey, probe: bool) -> Option<ParticipantId>;

    /// Makes one attempt. Ends within `call.timeout_ms` and some slack, whatever the participant does; never panics
    /// on what it answers.
    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static;
}

/// Time and randomness.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current instant.
    fn now(&self) -> saga_core::Millis;

    /// Returns a uniform random number, for jitter.
    fn jitter(&self) -> u32;

    /// Waits until an instant.
    fn sleep_until(&self, at: saga_core::Millis) -> impl Future<Output = ()> + Send;
}
