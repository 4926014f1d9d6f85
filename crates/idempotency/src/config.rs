//! Settings.

use std::time::Duration;

use serde::Deserialize;

/// Settings of both layers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a key stays taken when the process that runs its request dies, 1 s to 10 min. Renewed every third of it.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long an answer is replayed, 1 min to 7 days.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Largest body of a request with a key, 1 KiB to 16 MiB. It is held in memory.
    pub max_body_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            keep: Duration::from_secs(24 * 60 * 60),
            max_body_bytes: 1024 * 1024,
        }
    }
}

/// A setting is out of its range.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Every key that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let minute = Duration::from_secs(60);
        let checks = [
            (
                "lease",
                (Duration::from_secs(1)..=minute * 10).contains(&self.lease),
                "1 s to 10 min",
            ),
            (
                "keep",
                (minute..=minute * 60 * 24 * 7).contains(&self.keep),
                "1 min to 7 days",
            ),
            (
                "max_body_bytes",
                (1024..=16 * 1024 * 1024).contains(&self.max_body_bytes),
                "1024 to 16777216",
            ),
        ];
        let wrong: Vec<String> = checks
            .iter()
            .filter(|(_, good, _)| !good)
            .map(|(key, _, range)| format!("idempotency.{key} must be {range}"))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(wrong.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_every_value_out_of_range_is_named() {
        Config::default().check().unwrap();
        let config = Config {
            lease: Duration::ZERO,
            keep: Duration::ZERO,
            max_body_bytes: 0,
        };
        let text = config.check().unwrap_err().to_string();
        for key in ["lease", "keep", "max_body_bytes"] {
            assert!(text.contains(key), "{text}");
        }
    }
}
