//! Settings.

use std::time::Duration;

use super::breaker::BreakerConfig;

/// Settings of an engine. Every queue and pool has a bound here.
#[derive(Debug, Clone)]
pub struct Config {
    /// Writers of the journal, 1 to 16. One saga stays on one.
    pub lanes: usize,
    /// Most transitions in one batch.
    pub max_batch: usize,
    /// Most sagas under way, in memory or not. Above it `start` answers `Overloaded`, and sagas that wait to be loaded go on
    /// waiting.
    pub max_live: usize,
    /// A saga that has nothing to do for at least so long leaves memory until it has, or something concerns it.
    pub passive_after: Duration,
    /// Most calls in flight; above it sagas wait for a place.
    pub max_calls: usize,
    /// Most calls in flight to one participant that sets no limit of its own. All participants together never have more
    /// places than `max_calls`, so that one which hangs cannot take those of the others.
    pub participant_limit: usize,
    /// When calls to a participant that does not answer are held back.
    pub breaker: BreakerConfig,
    /// Most requests waiting for the engine.
    pub max_requests: usize,
    /// Time between renewals of the lease.
    pub heartbeat: Duration,
    /// How long the lease lasts. While it is not held no call goes out.
    pub lease: Duration,
    /// Time between looks for instances that died or have ended: what a saga waits for at most when its owner ends in order.
    pub takeover_scan: Duration,
    /// Sagas loaded at a time.
    pub load_chunk: usize,
    /// Longest wait for calls in flight when the engine is told to stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lanes: 2,
            max_batch: 512,
            max_live: 200_000,
            passive_after: Duration::from_secs(300),
            max_calls: 4_096,
            participant_limit: 256,
            breaker: BreakerConfig::default(),
            max_requests: 8_192,
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(5),
            takeover_scan: Duration::from_millis(250),
            load_chunk: 500,
            drain: Duration::from_secs(10),
        }
    }
}
