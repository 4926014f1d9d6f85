//! What makes a step safe to call twice, late, or never.
//!
//! A saga repeats calls whose outcome it does not know, and compensates calls that may never have arrived. So a
//! participant must survive: the same call twice, at the same moment or much later; an action that arrives after its
//! own compensation; a compensation without an action. [`run`] wraps the work of a step in one transaction together
//! with a row per operation, keyed by (saga, step, index, op), and decides from these rows alone.
//!
//! Each participant has the table [`TABLE_SQL`] in its own schema and creates it in its own migrations.
//!
//! # Invariants
//! * The work's effects and the row that remembers them are committed together or not at all.
//! * Isolation is READ COMMITTED. Locks are taken in this order: the action's row, the compensation's row, business
//!   rows. A compensation inserts the *action's* row first, which waits for an action that is still running.
//! * A final answer never changes: a repeated call gets the stored reply or the stored refusal, byte for byte.
//! * After a compensation has been committed, no call of its action has an effect.
//! * Only a refusable action has a stored refusal. Any other "no" is answered and forgotten, and the call comes again.
//! * The request of a repeated call must be the same: its SHA-256 over the protobuf encoding is compared. Request
//!   messages must therefore encode deterministically; those with `map` fields of type `HashMap` do not.
//!
//! # Limits
//! One row per operation, about 250 bytes plus the reply, for ever: nothing is deleted here. Saga ids are UUIDv7 and
//! lead the primary key, so rows of old sagas can be deleted by a range of ids once no such saga can call again.
//!
//! Work that is one SQL statement takes one round trip with [`run_statement`], and shares it with the calls that come at the
//! same time in a [`Batch`].
//!
//! Effects outside the database (payments, devices, object stores) are for [`external`].
//!
//! # What it is not
//! A lock service, or a queue: it acts only when a step is called.

mod answer;
mod batch;
pub mod decide;
pub mod external;
mod failure;
mod guard;
mod rows;
mod run;
mod statement;

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use rpc::error::Reason;
use tonic::Code;

pub use batch::Batch;
pub use failure::{chain, reason};
pub use guard::{Guard, guard};
pub use run::run;
pub use statement::{Statement, run_statement};

/// The `create table` statement of the barrier, to be copied into a migration of each participant.
pub const TABLE_SQL: &str = include_str!("../barrier.sql");

/// Whether the work of a call looks at an operation that is pending, instead of beginning it.
///
/// The work is "begin or look": `Again(false)` begins, `Again(true)` looks at what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again(pub bool);

/// What the work of a step answers when nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done<R> {
    /// The final reply. It is stored, and answers every repeated call.
    Reply(R),
    /// Not final yet. What the work wrote is committed; the call comes again and runs the work with `Again(true)`.
    ///
    /// If that ends in a refusal, what was committed so far stays and is not compensated: it must by then be of no
    /// effect, as the record of a job that has failed is.
    Pending {
        /// When to ask again. The caller may ask earlier.
        ask_again: Duration,
    },
}

/// Why the work of a step has no answer.
#[derive(Debug)]
pub enum Stop {
    /// A definite no: nothing happened, and nothing will. What the work wrote is rolled back.
    Refuse(Refusal),
    /// The work does not know. Everything is rolled back and the call comes again. The cause is logged here, with
    /// [`chain`], and answered as [`reason`] says.
    Fail(Box<dyn Error + Send + Sync>),
}

impl Stop {
    /// Makes a refusal.
    #[must_use]
    pub fn refuse(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refuse(Refusal {
            reason: reason.into(),
            message: message.into(),
            facts: HashMap::new(),
        })
    }

    /// Makes a refusal with a reason of the participant's own.
    #[must_use]
    pub fn refuse_as(code: RefusalCode, name: &'static str, message: impl Into<String>) -> Self {
        Self::Refuse(Refusal {
            reason: Why::Own { code, name },
            message: message.into(),
            facts: HashMap::new(),
        })
    }

    /// Makes a failure.
    #[must_use]
    pub fn fail(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fail(cause.into())
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::fail(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// The gRPC codes that can carry a refusal; every other one leaves the outcome unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// The request cannot be right.
    InvalidArgument,
    /// What it names is not there.
    NotFound,
    /// What it makes is there already, and is something else.
    AlreadyExists,
    /// It is not allowed.
    PermissionDenied,
    /// The state of things does not allow it.
    FailedPrecondition,
    /// A number leaves its range.
    OutOfRange,
}

impl RefusalCode {
    const fn code(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::OutOfRange => Code::OutOfRange,
        }
    }
}

/// Reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// One of Evenkeel's own. Its gRPC code should be one that can carry a refusal, see [`rpc::outcome::classify`].
    Known(Reason),
    /// One of the participant's own.
    Own {
        /// Code of the status.
        code: RefusalCode,
        /// Name in `ErrorInfo.reason`: SCREAMING_SNAKE_CASE, at most 63 characters (AIP-193).
        name: &'static str,
    },
}

impl Why {
    /// Returns the code of the status.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Known(reason) => reason.code(),
            Self::Own { code, .. } => code.code(),
        }
    }

    /// Returns the name in `ErrorInfo.reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known(reason) => reason.name(),
            Self::Own { name, .. } => name,
        }
    }
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self::Known(reason)
    }
}

/// A definite no, as the caller reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Why,
    /// For people; without internals or secrets.
    pub message: String,
    /// Machine-readable facts for `ErrorInfo.metadata`.
    pub facts: HashMap<String, String>,
}
