//! The saga state machine: no I/O, no clock, no async.
//!
//! Events in, state out. [`State::handle`] takes one [`Input`] (an answer, a cancel, an operator's command, the passing of time),
//! decides what it means, and returns the [`Recorded`] events to be made durable; [`State::apply`] replays them. What
//! must be called next ([`State::due`]) and when to look again ([`State::alarm_at`]) are derived from that state alone,
//! so a process that loads the events continues exactly where another stopped.
//!
//! What it is not: a scheduler (it never waits), a transport (it never calls), a store (payloads are opaque to it).
//!
//! # Invariants
//! * Time and randomness come in as data: the same events give the same state, always.
//! * `handle` applies exactly the events it returns. A caller that fails to make them durable drops the state.
//! * [`invariants::ALL`] holds after every event, [`invariants::AT_REST`] besides after every transition; the
//!   predicates are public so that models, tests and the running system share them.
//!
//! The rules are numbered after section 4 of the design ("Correctness rules"), in comments as `rule N`.

mod answer;
mod apply;
mod event;
mod handle;
mod input;
pub mod invariants;
mod operator;
mod payload;
mod plan;
mod run;
mod state;

pub use event::{Actor, Cause, Event, Failure, FailureClass, Phase, Reason, Recorded, StepError};
pub use input::{Command, Completion, Context, Input, Outcome, Rejected};
pub use operator::{Allowed, OperatorAction};
pub use payload::Payload;
pub use plan::{Backoff, Epilogue, Plan, PlanError, StepPlan, Zone};
pub use run::{OpState, Open, Run};
pub use state::{Attention, Clock, Due, Start, State};

/// An instant in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Returns the instant `ms` milliseconds later; saturates.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }

    /// Returns the milliseconds from `earlier` to this instant; 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// Which operation of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// The step's own work.
    Action,
    /// Undoing it.
    Compensation,
}

/// Names one operation of a saga: together with the saga it is the idempotency key of all its attempts (rule 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpKey {
    /// Position of the step in the plan, from 0; the epilogue comes after the last step.
    pub step: u16,
    /// Index of a fanned-out step; 0 otherwise.
    pub index: u32,
    /// Action or compensation.
    pub op: Op,
}
