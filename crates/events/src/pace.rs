//! Pauses: between looks at a table, and after trouble.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A pause that doubles from the shortest to the longest.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Pace {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
        }
    }

    /// Begins with the shortest pause again.
    pub(crate) fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// Returns the next pause; the one after is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Returns the next pause cut to a random part between a half and the whole, so that replicas spread out.
    pub(crate) fn jittered(&mut self) -> Duration {
        self.pause().mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// Waits; false if the order to stop came first.
pub(crate) async fn rest(pause: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pace = Pace::new(Duration::from_millis(20), Duration::from_millis(100));
        let pauses: Vec<_> = (0..5).map(|_| pace.pause().as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 100, 100]);
        pace.reset();
        let jittered = pace.jittered().as_millis();
        assert!((10..=20).contains(&jittered), "{jittered}");
    }
}
