//! Settings of live connections.

use std::time::Duration;

use serde::Deserialize;

/// Settings of live connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Live connections of one user to this process, 1 to 1,000; then 429.
    pub max_per_user: usize,
    /// Live connections to this process, 1 to 1,000,000; then 429.
    pub max: usize,
    /// How long a ticket can be used, 1 s to 10 min.
    #[serde(with = "humantime_serde")]
    pub ticket_life: Duration,
    /// A WebSocket whose client takes nothing for this time is closed, 100 ms to 5 min. For Server-Sent Events the bound is
    /// `gateway.write_timeout`, that of every connection.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// A WebSocket from which nothing comes for this time, not even an answer to a ping, is given up, 1 s to 1 h. Pings are
    /// sent three times as often.
    #[serde(with = "humantime_serde")]
    pub silence: Duration,
    /// Frames that wait for a slow client, 1 to 10,000; then it is sent away.
    pub buffer_messages: usize,
    /// Bytes of frames that wait for a slow client, 1 KiB to 16 MiB. A single frame may be larger.
    pub buffer_bytes: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            max_per_user: 10,
            max: 10_000,
            ticket_life: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            buffer_messages: 64,
            buffer_bytes: 256 * 1024,
        }
    }
}

impl WatchConfig {
    pub(crate) fn check(&self, check: &mut impl FnMut(&str, bool, &str)) {
        let (ms, s) = (Duration::from_millis(1), Duration::from_secs(1));
        check(
            "watch.max_per_user",
            (1..=1000).contains(&self.max_per_user),
            "1 to 1000",
        );
        check("watch.max", (1..=1_000_000).contains(&self.max), "1 to 1000000");
        check(
            "watch.ticket_life",
            (s..=s * 600).contains(&self.ticket_life),
            "1 s to 10 min",
        );
        check(
            "watch.write_timeout",
            (ms * 100..=s * 300).contains(&self.write_timeout),
            "100 ms to 5 min",
        );
        check(
            "watch.silence",
            (s..=s * 3600).contains(&self.silence),
            "1 s to 1 h",
        );
        check(
            "watch.buffer_messages",
            (1..=10_000).contains(&self.buffer_messages),
            "1 to 10000",
        );
        check(
            "watch.buffer_bytes",
            (1024..=16 * 1024 * 1024).contains(&self.buffer_bytes),
            "1024 to 16777216",
        );
    }
}
