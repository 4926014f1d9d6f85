//! Settings.

use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use serde::Deserialize;

use crate::watch::WatchConfig;

/// Settings of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest time for one call of a service, 100 ms to 10 min; then 504.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Largest request body after decompression, 1 KiB to 16 MiB; then 413. Services have limits of their own.
    pub max_body_bytes: usize,
    /// Longest time for a request body to arrive, 1 s to 10 min; then 408.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Longest time for the head of a request to arrive, and between two requests, 1 s to 5 min; then the connection is closed.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// Longest time in which a client takes nothing of what it is sent, 1 s to 10 min; then the connection is closed.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// All headers of a request together, 1 KiB to 32 KiB; then 431.
    pub max_header_bytes: usize,
    /// Path and query, 256 B to 32 KiB; then 414.
    pub max_uri_bytes: usize,
    /// Requests handled at once, at least 1; then 429. Open watches do not count.
    pub max_concurrent: usize,
    /// Connections open at once, at least 1; further ones wait to be accepted. WebSockets do not count: `watch.max` is theirs.
    pub max_connections: usize,
    /// Sites whose pages may call and watch, as browsers name them: `https://app.example.com`. `*` is every site, which does
    /// no harm by itself: there are no cookies.
    pub origins: Vec<String>,
    /// Networks of proxies that are believed about the client's address (`x-forwarded-for`): `10.0.0.0/8`.
    pub trusted_proxies: Vec<IpNet>,
    /// Idempotency keys. Their `max_body_bytes` is that of all requests, above.
    pub idempotency: idempotency::Config,
    /// Live connections.
    pub watch: WatchConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_header_bytes: 16 * 1024,
            max_uri_bytes: 8 * 1024,
            max_concurrent: 1024,
            max_connections: 20_000,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            idempotency: idempotency::Config::default(),
            watch: WatchConfig::default(),
        }
    }
}

/// Settings are out of their range.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Every key that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (ms, s, min) = (
            Duration::from_millis(1),
            Duration::from_secs(1),
            Duration::from_secs(60),
        );
        const KIB: usize = 1024;
        let mut wrong = Vec::new();
        let mut check = |key: &str, good: bool, range: &str| {
            if !good {
                wrong.push(format!("gateway.{key} must be {range}"));
            }
        };
        check(
            "deadline",
            (ms * 100..=min * 10).contains(&self.deadline),
            "100 ms to 10 min",
        );
        check(
            "max_body_bytes",
            (KIB..=16 * KIB * KIB).contains(&self.max_body_bytes),
            "1024 to 16777216",
        );
        check(
            "body_timeout",
            (s..=min * 10).contains(&self.body_timeout),
            "1 s to 10 min",
        );
        check(
            "head_timeout",
            (s..=min * 5).contains(&self.head_timeout),
            "1 s to 5 min",
        );
        check(
            "write_timeout",
            (s..=min * 10).contains(&self.write_timeout),
            "1 s to 10 min",
        );
        check(
            "max_header_bytes",
            (KIB..=32 * KIB).contains(&self.max_header_bytes),
            "1024 to 32768",
        );
        check(
            "max_uri_bytes",
            (256..=32 * KIB).contains(&self.max_uri_bytes),
            "256 to 32768",
        );
        check("max_concurrent", self.max_concurrent > 0, "at least 1");
        check("max_connections", self.max_connections > 0, "at least 1");
        let origins = self.origins.iter().all(|origin| is_origin(origin));
        check(
            "origins",
            origins,
            "`*`, or origins like https://app.example.com without a slash at the end",
        );
        self.watch.check(&mut check);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(wrong.join("; ")))
        }
    }

    /// Tells whether pages of a site may call.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        self.origins
            .iter()
            .any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    }
}

/// Scheme, host and port as browsers write them in `Origin` (RFC 6454, 6.1).
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    text == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_every_value_out_of_range_is_named() {
        Config::default().check().unwrap();
        let config = Config {
            deadline: Duration::ZERO,
            max_body_bytes: 0,
            body_timeout: Duration::ZERO,
            head_timeout: Duration::ZERO,
            write_timeout: Duration::ZERO,
            max_header_bytes: 0,
            max_uri_bytes: 0,
            max_concurrent: 0,
            max_connections: 0,
            origins: vec!["https://App.example.com/".to_owned()],
            watch: WatchConfig {
                max_per_user: 0,
                max: 0,
                ticket_life: Duration::ZERO,
                write_timeout: Duration::ZERO,
                silence: Duration::ZERO,
                buffer_messages: 0,
                buffer_bytes: 0,
            },
            ..Config::default()
        };
        let text = config.check().unwrap_err().to_string();
        for key in [
            "deadline",
            "max_body_bytes",
            "body_timeout",
            "head_timeout",
            "write_timeout",
            "max_header_bytes",
            "max_uri_bytes",
            "max_concurrent",
            "max_connections",
            "origins",
            "watch.max_per_user",
            "watch.max ",
            "watch.ticket_life",
            "watch.write_timeout",
            "watch.silence",
            "watch.buffer_messages",
            "watch.buffer_bytes",
        ] {
            assert!(text.contains(&format!("gateway.{key}")), "{key}: {text}");
        }
    }

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        let config = |origins: &[&str]| Config {
            origins: origins.iter().map(ToString::to_string).collect(),
            ..Config::default()
        };
        let asked = HeaderValue::from_static("https://app.example.com");
        assert!(!config(&[]).allows_origin(&asked));
        assert!(config(&["https://app.example.com"]).allows_origin(&asked));
        assert!(!config(&["https://example.com"]).allows_origin(&asked));
        assert!(config(&["*"]).allows_origin(&asked));
    }
}
