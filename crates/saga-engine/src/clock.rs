//! The machine's own clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga_core::Millis;

use crate::participants::Clock;

/// Wall time and the thread's random numbers.
///
/// Instants are wall time because they outlive the process. A clock that is set back makes waits longer by as much;
/// nothing that must be safe depends on it (leases are judged by the database's clock).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn jitter(&self) -> u32 {
        rand::random()
    }

    async fn sleep_until(&self, at: Millis) {
        let wait_ms = at.since(self.now());
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}
