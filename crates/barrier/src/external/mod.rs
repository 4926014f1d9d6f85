//! Barrier mode EXTERNAL: steps whose effect is outside the database (DESIGN section 4, rule 6).
//!
//! A database transaction cannot hold an effect at a payment provider or in a device pool. What takes its place is a
//! *claim*: a row of [`CLAIM_TABLE_SQL`] that is committed before the outside is called and says until when calls may
//! start, by the database's clock. It has a number, the fence, which rises with each claim.
//!
//! | a call finds | it does |
//! |---|---|
//! | no claim | takes the first claim, commits, calls the outside, records the result in a last transaction |
//! | a live claim | answers Pending |
//! | a claim that ran out without a result | asks the outside by request id: records what it finds, else waits until the claim is *quiet* (`grace` later), asks again, and takes the next claim |
//! | the action's row taken by a compensation | answers `SUPERSEDED` |
//!
//! A compensation closes the action's claim (no further one is taken), answers Pending until it is quiet, asks the
//! outside, and undoes what it finds; undoing is a call to the outside, under claims of its own. Where nothing was ever
//! claimed there is nothing to undo. Where the outside refuses to undo, the compensation answers that "no" without
//! storing it, so that the saga gets attention, and the success stays in `barrier_claim.late_reply` until it is undone.
//!
//! # What the outside must offer
//! * Effects carry our [`RequestId`], and can be looked up by it: [`Effect::query`].
//! * A bound on lateness: a request whose caller is gone takes effect within [`Claims::grace`], or never. An outside
//!   without such a bound can do instead with [`Effect::UNDO_FORBIDS`]: undoing an id that it has not seen makes it
//!   refuse that id from then on.
//! * It need not treat repeated requests with one id as one: a second call leaves only when the first cannot have an
//!   effect any more and the outside does not know of one.
//!
//! An effect that can be neither bounded nor queried cannot be undone safely: whether it happened is not to be known.
//! Such a step must be the saga's pivot, behind [`run`](crate::run) or by nature, and a person settles what is unclear.
//!
//! # Invariants
//! * No call starts without a claim that was committed before, nor after the end of that claim. The database's clock
//!   is asked just before; the call is cut off at the end of the claim, counted on a local clock from before that
//!   question.
//! * At most one claim of an operation is not quiet.
//! * A result is recorded in a transaction that holds the lock on the operation's row, and only while it is pending.
//! * A success that cannot be recorded is never forgotten: the compensation finds it, or it is in `late_reply`.
//!
//! The clock of the database server must not jump by more than the grace, also not by a failover.

pub mod decide;
mod operation;
mod rows;
mod run;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ids::SagaId;
use prost::Message;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::{Done, Refusal, Stop};

pub use run::{action, compensation};

/// The `create table` statement for claims, to be copied into a migration of each participant with effects outside
/// its database, after that of [`TABLE_SQL`](crate::TABLE_SQL).
pub const CLAIM_TABLE_SQL: &str = include_str!("../../claim.sql");

/// How long claims last. Each is cut to 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// For how long calls may start and run under one claim: the outside's slowest answer. Above 0.
    pub valid: Duration,
    /// How late the outside may still act on a request after its caller has gone, network and queues included.
    pub grace: Duration,
    /// Longest that a caller is told to wait before it asks again.
    pub ask_again: Duration,
}

impl Claims {
    /// Makes the usual limits: callers ask again within a second.
    #[must_use]
    pub const fn new(valid: Duration, grace: Duration) -> Self {
        Self {
            valid,
            grace,
            ask_again: Duration::from_secs(1),
        }
    }
}

/// The name under which the outside knows an operation: the same for all its calls, and never used for another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    fn new(saga_id: SagaId, step: &str, index: u32, op: rpc::step::Op) -> Self {
        Self(format!("{saga_id}/{step}/{index}/{}", op.name()))
    }

    /// Returns the idempotency key, `saga/step/index/op`; up to 130 characters of `A-Z`, `a-z`, `0-9`, `_` and `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns 32 hex digits of the key's SHA-256, for an outside that takes no long ids.
    #[must_use]
    pub fn short(&self) -> String {
        let digest = Sha256::digest(&self.0);
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One call to the outside.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Id of this operation.
    pub id: &'a RequestId,
    /// Number of the claim, from 1; rises with each.
    pub fence: i64,
    /// After this time the call is cut off. An outside that takes an expiry should be given it.
    pub rest: Duration,
}

/// What the outside knows of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<R, U> {
    /// It has happened, with this result, and stands.
    Done(R),
    /// It was accepted and is not done.
    Running {
        /// When to ask again.
        ask_again: Duration,
    },
    /// The outside refused it, and will not do it later.
    Refused(Refusal),
    /// It was undone.
    Undone(U),
    /// The outside does not know it. After an undo was sent this counts as undone.
    Nothing,
}

/// Why the outside cannot be asked.
pub type Unknown = Box<dyn Error + Send + Sync>;

/// An effect outside the database, of one call: the request is part of the value.
///
/// Futures may be dropped at any point, as a killed process would end them.
pub trait Effect: Sync {
    /// Reply of the action's method.
    type Reply: Message + Default;
    /// Reply of the compensation's method.
    type Undone: Message + Default;

    /// Whether [`undo`](Self::undo) of an id that the outside has not seen makes it refuse that id later. Then `undo` is
    /// called also when [`query`](Self::query) answers [`Seen::Nothing`], and nothing can arrive late.
    const UNDO_FORBIDS: bool = false;

    /// Makes the effect happen under `attempt.id`.
    ///
    /// A refusal must be definite: it did not happen and will not by this call. [`Stop::Fail`] is everything else.
    fn start(&self, attempt: Attempt<'_>) -> impl Future<Output = Result<Done<Self::Reply>, Stop>> + Send;

    /// Asks the outside about the effect of `id`, without changing anything.
    fn query(
        &self,
        id: &RequestId,
    ) -> impl Future<Output = Result<Seen<Self::Reply, Self::Undone>, Unknown>> + Send;

    /// Undoes the effect of `id`, as an operation of its own with the id in `attempt`.
    ///
    /// A refusal means that it cannot be undone now; the saga gets attention, and the call comes again.
    fn undo(
        &self,
        id: &RequestId,
        attempt: Attempt<'_>,
    ) -> impl Future<Output = Result<Done<Self::Undone>, Stop>> + Send;

    /// Writes what the participant's own tables say about the effect of `id`, in the transaction that records it.
    ///
    /// The barrier's row is locked. An error rolls everything back, and the result is looked up again later.
    fn done(
        &self,
        conn: &mut PgConnection,
        id: &RequestId,
        reply: &Self::Reply,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        let _ = (conn, id, reply);
        async { Ok(()) }
    }

    /// Writes that the effect of `id` is undone, in the transaction that records it. Also called when there was nothing to
    /// undo but a claim: `done` was not called then.
    fn undone(
        &self,
        conn: &mut PgConnection,
        id: &RequestId,
        reply: &Self::Undone,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        let _ = (conn, id, reply);
        async { Ok(()) }
    }
}
