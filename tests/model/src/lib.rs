//! A model check of the saga core and of the barrier's decisions, with stateright.
//!
//! A [`World`] is one saga: the real [`saga_core::State`] in a journal and in the memory of its owner and of an owner that
//! was replaced; the real [`barrier::decide`] over rows; effects as counters; a network as a bag of messages. Every story
//! with a bounded number of faults is told: calls and answers that are late, lost, repeated, overtaken; crashes; takeovers
//! with the old owner still at work; writes that fail, or succeed and look as if they failed; cancel and deadline at any
//! moment; participants who refuse, work in the background, or answer by token.
//!
//! What holds is [`World::broken`]: [`saga_core::invariants`] literally, and what [`predicates`] adds. A [`Mutation`]
//! removes one rule at the seam where it belongs; the check must then fail, or it would prove nothing. [`Claims`] does the
//! same for effects outside the database.
//!
//! What it is not: it knows no SQL, no sockets and no engine. The simulation in `saga-engine` drives those.

mod barrier_rows;
mod claims;
mod journal;
mod mutation;
mod network;
pub mod predicates;
mod process;
mod report;
mod saga_model;
mod scene;
mod world;

pub use claims::{Claims, ClaimsRule, Fate, Happening, Outside, Worker};
pub use mutation::Mutation;
pub use report::{Checked, Finding, check, shortest};
pub use saga_model::{Action, SagaModel};
pub use scene::Scene;
pub use world::World;
