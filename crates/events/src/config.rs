//! Settings.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

const KEPT_WITH_RABBITMQ: Duration = Duration::from_secs(60 * 60);

/// Settings of relays and consumers.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `amqp://user:password@host:port/vhost` or `amqps://…` of a RabbitMQ (3.10 or later); empty: the Postgres queue.
    pub amqp_url: String,
    /// Messages of a queue that a consumer holds at once, 1 to 1,000.
    pub prefetch: u16,
    /// Handlers of a queue that run at once, 1 to 100. Each takes a connection of its service's pool.
    pub concurrency: u16,
    /// Attempts of a handler before a message becomes a dead letter, 1 to 1,000.
    pub attempts: u32,
    /// Pause after the first failed attempt, 1 ms to `longest_pause`; doubled each time.
    #[serde(with = "humantime_serde")]
    pub first_pause: Duration,
    /// Longest pause between attempts, at most 10 min.
    #[serde(with = "humantime_serde")]
    pub longest_pause: Duration,
    /// How long a handler may take, 1 s to 5 min; afterwards the attempt counts as failed.
    #[serde(with = "humantime_serde")]
    pub handler_timeout: Duration,
    /// Postgres queue: silence after which a message of a consumer that died is delivered again, 1 s to 10 min.
    #[serde(with = "humantime_serde")]
    pub visibility: Duration,
    /// How long published rows stay in an outbox, at most 30 days; zero deletes them as they are published. The default is
    /// an hour with RabbitMQ, so that they can be sent again if it loses a queue, and zero with the Postgres queue, which
    /// is as durable as the outbox.
    #[serde(with = "humantime_serde")]
    pub keep_published: Option<Duration>,
    /// How long an inbox remembers what was applied, 1 h to 366 days. A message that is delivered again later than that
    /// is applied again.
    #[serde(with = "humantime_serde")]
    pub keep_inbox: Duration,
    /// Longest pause between two looks at an outbox or a Postgres queue, 20 ms to 1 min.
    #[serde(with = "humantime_serde")]
    pub longest_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amqp_url: String::new(),
            prefetch: 64,
            concurrency: 4,
            attempts: 10,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(30),
            visibility: Duration::from_secs(30),
            keep_published: None,
            keep_inbox: Duration::from_secs(30 * 24 * 60 * 60),
            longest_poll: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("rabbitmq", &!self.amqp_url.is_empty())
            .field("prefetch", &self.prefetch)
            .field("concurrency", &self.concurrency)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Returns how long published rows stay in an outbox.
    pub(crate) fn kept(&self) -> Duration {
        let default = if self.amqp_url.is_empty() {
            Duration::ZERO
        } else {
            KEPT_WITH_RABBITMQ
        };
        self.keep_published.unwrap_or(default)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every key that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let (millis, second, minute) = (
            Duration::from_millis(1),
            Duration::from_secs(1),
            Duration::from_secs(60),
        );
        let day = minute * 60 * 24;
        let checks = [
            ("prefetch", (1..=1000).contains(&self.prefetch), "1 to 1,000"),
            ("concurrency", (1..=100).contains(&self.concurrency), "1 to 100"),
            ("attempts", (1..=1000).contains(&self.attempts), "1 to 1,000"),
            (
                "first_pause",
                (millis..=self.longest_pause).contains(&self.first_pause),
                "1 ms to longest_pause",
            ),
            (
                "longest_pause",
                self.longest_pause <= minute * 10,
                "at most 10 min",
            ),
            (
                "handler_timeout",
                (second..=minute * 5).contains(&self.handler_timeout),
                "1 s to 5 min",
            ),
            (
                "visibility",
                (second..=minute * 10).contains(&self.visibility),
                "1 s to 10 min",
            ),
            ("keep_published", self.kept() <= day * 30, "at most 30 days"),
            (
                "keep_inbox",
                (minute * 60..=day * 366).contains(&self.keep_inbox),
                "1 h to 366 days",
            ),
            (
                "longest_poll",
                (millis * 20..=minute).contains(&self.longest_poll),
                "20 ms to 1 min",
            ),
        ];
        let wrong: Vec<String> = checks
            .iter()
            .filter(|(_, good, _)| !good)
            .map(|(key, _, range)| format!("events.{key} must be {range}"))
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
            amqp_url: "amqp://u:secret@h".to_owned(),
            ..Config::default()
        };
        config.check().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn published_rows_are_kept_for_a_broker_that_can_lose_what_it_has() {
        let postgres = Config::default();
        let rabbit = Config {
            amqp_url: "amqp://h".to_owned(),
            ..Config::default()
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!((postgres.kept(), rabbit.kept()), (Duration::ZERO, hour));
        let told = Config {
            keep_published: Some(Duration::ZERO),
            ..rabbit
        };
        assert_eq!(told.kept(), Duration::ZERO);
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let config = Config {
            prefetch: 0,
            first_pause: Duration::from_secs(60),
            keep_inbox: Duration::ZERO,
            ..Config::default()
        };
        let text = config.check().unwrap_err().to_string();
        for key in ["prefetch", "first_pause", "keep_inbox"] {
            assert!(text.contains(key), "{text}");
        }
    }
}
