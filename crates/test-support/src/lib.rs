//! Private databases and brokers, keys, child processes and waiting helpers for tests.
//!
//! What it is not: part of the product. It is a dev-dependency only, and its functions panic with a description instead
//! of returning errors, since a test could do nothing else with them.
//!
//! Invariants: a test leaves nothing behind, also when it panics or its process is killed (databases on a server that
//! outlives the test process are the exception: they are dropped on a best effort); tests do not see each other's data;
//! nothing uses a standard port.

mod broker;
mod child;
mod database;
mod eventually;
mod identities;
pub mod metrics;
mod outside;
mod redis;
mod scratch;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

pub use broker::{BROKER_API_VARIABLE, BROKER_VARIABLE, PrivateBroker, TestBroker, has_broker_binaries};
pub use child::{ChildProcess, Signal, signal};
pub use database::{SERVER_VARIABLE, TestDatabase};
pub use eventually::{Answer, eventually};
pub use identities::{Identities, identities};
pub use outside::{Entry, Manner, Outside, OutsideError};
pub use redis::{PrivateRedis, REDIS_VARIABLE, TestRedis, has_redis_binary};
pub use scratch::Scratch;

/// First and last port that [`free_port`] gives: below the range from which Linux takes ports for outgoing connections
/// (32768 on), so that no connection of another test takes it in between.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Returns a TCP port on 127.0.0.1 that was free a moment ago; each one once in this process. Prefer to bind port 0
/// yourself: another process may take the port in between.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes begin at different places, so that they do not look at the same ports at the same moment.
    let begin = u16::try_from(std::process::id().wrapping_mul(7_919) % u32::from(count)).unwrap_or(0);
    for _ in 0..count {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
