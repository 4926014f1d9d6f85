//! Doubles of outside providers: real servers that behave like the real thing, and misbehave on request.
//!
//! * [`ai`]: a text-generation provider over HTTP.
//!
//! What it is not: part of production. Nothing here checks credentials, and books are kept in memory only.
//!
//! Invariants:
//! * A double keeps books: every request it received, and every effect it had. Tests read them to prove that no
//!   effect happened twice.
//! * A double misbehaves only as its programme says, in the order in which the requests arrive.

pub mod ai;
