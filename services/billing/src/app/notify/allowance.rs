//! How many deliveries that were refused are written down: anybody can send rubbish.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most that are written in each window.
const MOST: u32 = 600;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts what is written in the window.
#[derive(Debug, Default)]
pub(crate) struct Allowance(Mutex<Option<(Instant, u32)>>);

impl Allowance {
    /// Takes one; false if there is none left.
    pub(crate) fn take(&self, now: Instant) -> bool {
        // Nothing panics while it holds the lock.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, taken) = held.unwrap_or((now, 0));
        let (began, taken) = if now.saturating_duration_since(began) >= WINDOW {
            (now, 0)
        } else {
            (began, taken)
        };
        let allowed = taken < MOST;
        *held = Some((began, if allowed { taken + 1 } else { taken }));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_a_minute_is_bounded() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        let taken = (0..1_000).filter(|_| allowance.take(now)).count();
        assert_eq!(taken, 600);
        assert!(!allowance.take(now + Duration::from_secs(59)));
        assert!(allowance.take(now + WINDOW));
    }
}
