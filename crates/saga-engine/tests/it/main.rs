//! The engine over a journal in memory, scripted participants and virtual time.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod crashes;
mod hints;
mod isolation;
mod measures;
mod operators;
mod participants;
mod passive;
mod pauses;
mod recorder;
mod recovery;
mod requests;
mod sim;
mod stopping;
mod world;
