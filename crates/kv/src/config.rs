//! Settings.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

/// Settings of the store.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `redis://[user:password@]host:port[/database]` or `rediss://…`; absent or empty: the Postgres store.
    pub redis_url: Option<String>,
    /// How long an operation may take, waiting for a connection included, 10 ms to 30 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Connections to Redis at most, 1 to 1,000. The Postgres store uses the pool it is given.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            redis_url: None,
            timeout: Duration::from_millis(500),
            connections: 16,
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("redis", &self.redis().is_some())
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Returns the URL of Redis, if there is one. An empty text counts as none: an environment variable cannot be absent
    /// in every place where it is written.
    pub(crate) fn redis(&self) -> Option<&str> {
        self.redis_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every key that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let (shortest, longest) = (Duration::from_millis(10), Duration::from_secs(30));
        let checks = [
            (
                "timeout",
                (shortest..=longest).contains(&self.timeout),
                "10 ms to 30 s",
            ),
            (
                "connections",
                (1..=1000).contains(&self.connections),
                "1 to 1,000",
            ),
        ];
        let wrong: Vec<String> = checks
            .iter()
            .filter(|(_, good, _)| !good)
            .map(|(key, _, range)| format!("kv.{key} must be {range}"))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Config(wrong.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_a_password_is_not_shown() {
        let config = Config {
            redis_url: Some("redis://:secret@h".to_owned()),
            ..Config::default()
        };
        config.check().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let config = Config {
            timeout: Duration::ZERO,
            connections: 0,
            ..Config::default()
        };
        let text = config.check().unwrap_err().to_string();
        for key in ["timeout", "connections"] {
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn an_empty_url_means_postgres() {
        let config = Config {
            redis_url: Some(String::new()),
            ..Config::default()
        };
        assert_eq!(config.redis(), None);
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let error = serde_json::from_str::<Config>(r#"{"redis": "redis://h"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
        let config: Config = serde_json::from_str(r#"{"timeout": "1s"}"#).unwrap();
        assert_eq!(config.timeout, Duration::from_secs(1));
    }
}
