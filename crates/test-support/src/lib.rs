//! Private databases, child processes and waiting helpers for tests.
//!
//! What it is not: part of the product. It is a dev-dependency only, and its functions panic with a description instead
//! of returning errors, since a test could do nothing else with them.
//!
//! Invariants: a test leaves nothing behind, also when it panics or its process is killed (databases on a server that
//! outlives the test process are the exception: they are dropped on a best effort); tests do not see each other's data;
//! nothing uses a standard port.

mod child;
mod database;
mod eventually;
mod scratch;

use std::net::TcpListener;

pub use child::{ChildProcess, Signal, signal};
pub use database::{SERVER_VARIABLE, TestDatabase};
pub use eventually::{Answer, eventually};
pub use scratch::Scratch;

/// Returns a TCP port on 127.0.0.1 that was free a moment ago. Prefer to bind port 0 yourself: another process may take
/// the port in between.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
