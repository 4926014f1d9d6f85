//! What a participant and a definition of a saga must survive, as checks that run against any of them.
//!
//! * [`participant`]: calls one action and its compensation as the orchestrator does, twice, late, at once and without
//!   each other, and says which rule of `docs/sagas.md` does not hold. Any gRPC server, in any language.
//! * [`matrix`]: runs a definition's sagas while calls are refused, repeated and lost and the orchestrator is killed, and says
//!   which step under which fault ended otherwise than it may.
//! * [`Interposer`]: stands between orchestrator and participants, and breaks what it is told to break.
//! * [`double`]: participants made from descriptors, for definitions whose real ones are not there.
//!
//! # What it is not
//! A load test, or a proof: a participant that passes has kept the rules in the cases that were tried.
//!
//! # Invariants
//! * Everything waits with a bound; nothing here waits for ever for a server that does not answer.
//! * What is called is only what the caller named: no method is guessed.

pub mod double;
mod fill;
mod interposer;
pub mod matrix;
pub mod participant;

pub use fill::filled;
pub use interposer::{Disagreement, Fault, Interposer, Rule, Seen, Upstream};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What was promised was seen.
    Pass,
    /// Something else was seen.
    Fail,
    /// It could not be tried here, or nothing was promised.
    Skip,
}

impl Verdict {
    /// Returns the name, for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Skip => "SKIP",
        }
    }
}
