//! Signals and the order to end.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, as a shell reports SIGINT.
const EXIT_IMPATIENT: i32 = 130;

/// The order to end, and how long work in progress may take from then on. Clones share the order.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: CancellationToken,
    expired: CancellationToken,
    drain: Duration,
}

impl Shutdown {
    /// Makes an order that is given by [`trigger`](Self::trigger).
    #[must_use]
    pub fn new(drain: Duration) -> Self {
        Self {
            requested: CancellationToken::new(),
            expired: CancellationToken::new(),
            drain,
        }
    }

    /// Makes an order that SIGTERM and SIGINT give. A second signal ends the process at once with code 130. Call it
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn on_signals(drain: Duration) -> io::Result<Self> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = Self::new(drain);
        let given = shutdown.clone();
        tokio::spawn(async move {
            let name = either(&mut term, &mut int).await;
            tracing::info!(
                signal = name,
                drain_ms = u64::try_from(drain.as_millis()).ok(),
                "shutting down"
            );
            given.trigger();
            let name = either(&mut term, &mut int).await;
            tracing::warn!(signal = name, "second signal: ending without drain");
            std::process::exit(EXIT_IMPATIENT);
        });
        Ok(shutdown)
    }

    /// Gives the order. Needs a tokio runtime the first time, to watch the drain deadline.
    pub fn trigger(&self) {
        if self.requested.is_cancelled() {
            return;
        }
        self.requested.cancel();
        let (expired, drain) = (self.expired.clone(), self.drain);
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            expired.cancel();
        });
    }

    /// Returns a token that is cancelled when the order is given: take no new work.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.requested.clone()
    }

    /// Returns a token that is cancelled when the drain time is over: give up work in progress.
    #[must_use]
    pub fn expired_token(&self) -> CancellationToken {
        self.expired.clone()
    }

    /// Waits for the order.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Says whether the order was given.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits until the drain time after the order is over.
    pub async fn expired(&self) {
        self.expired.cancelled().await;
    }

    /// Returns the drain time.
    #[must_use]
    pub fn drain(&self) -> Duration {
        self.drain
    }
}

async fn either(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_drain_time_begins_with_the_order() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let seen = shutdown.clone();
        assert!(!seen.is_requested());
        let begun = tokio::time::Instant::now();
        shutdown.trigger();
        shutdown.trigger();
        seen.requested().await;
        assert!(!seen.expired_token().is_cancelled());
        seen.expired().await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
