//! Settings of the service.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an order can be paid, within which the setting and what sagas ask for are.
pub(crate) const PAY_WITHIN: RangeInclusive<Duration> = MINUTE..=DAY;

/// Settings of the billing service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an order can be paid, 1 min to 1 day.
    #[serde(with = "humantime_serde")]
    pub pay_within: Duration,
    /// Where providers send notifications: a public URL without a query, to which `/wechat` or `/alipay` is added.
    pub notify_url: String,
    /// How long a payment, a refund or a withdrawal may be of unknown outcome until a person is told.
    #[serde(with = "humantime_serde")]
    pub case_after: Duration,
    /// Waits between questions to a provider: the first, the second, ..., and then the last again and again.
    #[serde(with = "durations")]
    pub ask_after: Vec<Duration>,
    /// For how long users may ask for a refund themselves, counted from the payment; 0 s: never. Administrators always may.
    #[serde(with = "humantime_serde")]
    pub refund_within: Duration,
    /// Questions to providers that are under way at once, in each process.
    pub parallel: u32,
    /// Steps that are worked on at once, in each process, 1 to 1000; those beyond wait. Few keep the answers to people quick,
    /// and a database with few processors is not quicker with more. Unless set, as many as the process has processors, but
    /// no less than 2.
    pub steps_at_once: u16,
    /// For how long a call waits for the saga that it has started.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How long deliveries of notifications are kept.
    #[serde(with = "humantime_serde")]
    pub keep_receipts: Duration,
    /// Whether yesterday's statements are fetched each day.
    pub import_statements: bool,
}

/// The configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("billing.{key} {problem}")]
pub struct Error {
    /// The setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rules = [
            (
                "pay_within",
                PAY_WITHIN.contains(&self.pay_within),
                "must be 1 min to 1 day",
            ),
            (
                "case_after",
                (SECOND..=DAY * 30).contains(&self.case_after),
                "must be 1 s to 30 days",
            ),
            (
                "ask_after",
                (1..=20).contains(&self.ask_after.len())
                    && self
                        .ask_after
                        .iter()
                        .all(|wait| (Duration::from_millis(10)..=DAY).contains(wait)),
                "must be 1 to 20 waits of 10 ms to 1 day",
            ),
            (
                "refund_within",
                self.refund_within <= DAY * 365,
                "must be at most 365 days",
            ),
            (
                "parallel",
                (1..=1000).contains(&self.parallel),
                "must be 1 to 1000",
            ),
            (
                "steps_at_once",
                (1..=1000).contains(&self.steps_at_once),
                "must be 1 to 1000",
            ),
            (
                "wait",
                (SECOND..=MINUTE).contains(&self.wait),
                "must be 1 s to 1 min",
            ),
            (
                "keep_receipts",
                (HOUR..=DAY * 365).contains(&self.keep_receipts),
                "must be 1 h to 365 days",
            ),
            (
                "notify_url",
                self.notify_url.starts_with("http")
                    && !self.notify_url.ends_with('/')
                    && !self.notify_url.contains(['?', '#']),
                "must be an http(s) URL without a query and without a slash at its end",
            ),
        ];
        rules
            .into_iter()
            .find(|(_, good, _)| !good)
            .map_or(Ok(()), |(key, _, problem)| Err(Error { key, problem }))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pay_within: MINUTE * 30,
            notify_url: "http://127.0.0.1:7180/api/v1/payments/notify".to_owned(),
            case_after: DAY,
            ask_after: vec![SECOND * 5, SECOND * 15, MINUTE, MINUTE * 5, MINUTE * 30],
            refund_within: DAY * 7,
            parallel: 32,
            steps_at_once: processors(),
            wait: SECOND * 10,
            keep_receipts: DAY * 30,
            import_statements: true,
        }
    }
}

/// Processors that this process may use, at least 2.
fn processors() -> u16 {
    let found = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(found).unwrap_or(u16::MAX).clamp(2, 1000)
}

/// Durations as text, such as `["5s", "15s"]`.
mod durations {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
        #[derive(serde::Deserialize)]
        struct Wait(#[serde(with = "humantime_serde")] Duration);
        let waits = Vec::<Wait>::deserialize(from).map_err(de::Error::custom)?;
        Ok(waits.into_iter().map(|wait| wait.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let wrong = Config {
            ask_after: Vec::new(),
            ..Config::default()
        };
        assert_eq!(wrong.check().unwrap_err().key, "ask_after");
        let wrong = Config {
            notify_url: "https://pay.example/notify?x=1".to_owned(),
            ..Config::default()
        };
        assert_eq!(wrong.check().unwrap_err().key, "notify_url");
    }
}
