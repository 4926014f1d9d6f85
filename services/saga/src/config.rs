//! Settings.

use std::collections::BTreeMap;
use std::time::Duration;

use process::PoolConfig;
use process::grpc::Limits;
use serde::Deserialize;

use crate::participants;

/// Settings of one instance of the orchestrator.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the instance; `<hostname>:<port>` if absent. A process that starts under the name of a living one takes its
    /// place: the older one ends.
    pub instance: Option<String>,
    /// Where other instances reach this one, `http://host:port`; the bound address if absent, or the host's name where
    /// all addresses are bound.
    pub address: Option<String>,
    /// How long the instance may be silent before others take its sagas over. At least three heartbeats.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Time between renewals of the lease.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Batches of the journal written at the same time, 1 to 16, each on a connection of its own.
    pub lanes: usize,
    /// Most unfinished sagas in memory; above it StartSaga answers RESOURCE_EXHAUSTED.
    pub max_live_sagas: usize,
    /// Most calls of steps at the same time.
    pub max_calls: usize,
    /// Most calls of steps of one participant at the same time. If `max_calls` does not suffice for all participants to have
    /// so many, each has an equal share of it.
    pub max_calls_per_participant: usize,
    /// Least wait between attempts of an operation that needs attention.
    #[serde(with = "humantime_serde")]
    pub attention_wait: Duration,
    /// Services that sagas may call, by package or service name; the longest that fits answers.
    pub participants: BTreeMap<String, participants::Config>,
    /// Database, and the connections of the API. The journal has `lanes` + 4 more of its own.
    pub pool: PoolConfig,
    /// Limits of the API's listener.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: None,
            address: None,
            lease: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            lanes: 1,
            max_live_sagas: 200_000,
            max_calls: 4_096,
            max_calls_per_participant: 256,
            attention_wait: Duration::from_secs(60),
            participants: BTreeMap::new(),
            pool: PoolConfig {
                max: 8,
                min: 1,
                ..PoolConfig::default()
            },
            // Requests that wait for the engine give their place back, so these are those being decoded or reading.
            limits: Limits {
                max_concurrent: 1_024,
                max_queued: 8_192,
                max_streams_per_connection: 8_192,
                ..Limits::default()
            },
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=16).contains(&self.lanes) {
            return Err(format!("lanes is {}; expected 1 to 16", self.lanes));
        }
        if self.heartbeat.is_zero() || self.lease < self.heartbeat * 3 {
            return Err(format!(
                "lease is {:?} and heartbeat {:?}; a lease must last for three heartbeats",
                self.lease, self.heartbeat
            ));
        }
        if self.max_live_sagas == 0 || self.max_calls == 0 || self.max_calls_per_participant == 0 {
            return Err(
                "max_live_sagas, max_calls and max_calls_per_participant must be at least 1".to_owned(),
            );
        }
        let printable =
            |name: &String| (1..=200).contains(&name.len()) && !name.chars().any(char::is_control);
        if self.instance.as_ref().is_some_and(|name| !printable(name)) {
            return Err("instance must have 1 to 200 printable bytes".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_mistakes_are_named() {
        Config::default().check().unwrap();
        for (config, word) in [
            (
                Config {
                    lanes: 0,
                    ..Config::default()
                },
                "lanes",
            ),
            (
                Config {
                    lease: Duration::from_secs(2),
                    ..Config::default()
                },
                "lease",
            ),
            (
                Config {
                    max_calls: 0,
                    ..Config::default()
                },
                "max_calls",
            ),
            (
                Config {
                    instance: Some("a\nb".to_owned()),
                    ..Config::default()
                },
                "instance",
            ),
        ] {
            assert!(config.check().unwrap_err().contains(word), "{word}");
        }
    }
}
