//! Real faults under load, with three orchestrators. Slow: `make test-recovery`; `UPDATE_DOCS=1` writes the times to
//! `docs/recovery.md`.

mod fleet;
mod gate;
mod journal;
mod kills;
mod load;
mod network;
mod participants;
mod postgres;
mod rolling;
mod table;

use std::time::{Duration, Instant};

use e2e::LONG;
use test_support::eventually;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Scenarios run side by side, each on a platform of its own, but for those that promise times.
static MACHINE: RwLock<()> = RwLock::const_new(());

async fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// A fault, or the load, goes on until this long after an instant.
async fn lasts(since: Instant, time: Duration) {
    eventually(LONG, || async { since.elapsed() >= time }).await;
}
