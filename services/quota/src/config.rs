//! Settings of the service.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::HOLD;

/// Settings of the quota service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What leaves less than this, where there was not less before, is told as `quota.low`; 0 or less tells nobody.
    pub low_below: i64,
    /// How long a reservation stands that did not say so itself, 1 s to 30 days. A task whose confirm comes later is not
    /// paid for, so it is to outlast every task, and every outage in the middle of one.
    #[serde(with = "humantime_serde")]
    pub reservation_hold: Duration,
}

/// The configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quota.{key} {problem}")]
pub struct Error {
    /// The setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if (HOLD.0..=HOLD.1).contains(&self.reservation_hold) {
            Ok(())
        } else {
            Err(Error {
                key: "reservation_hold",
                problem: "must be 1 s to 30 days",
            })
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            low_below: 10,
            reservation_hold: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_out_of_bounds_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        for reservation_hold in [Duration::ZERO, HOLD.1 * 2] {
            let config = Config {
                reservation_hold,
                ..Config::default()
            };
            assert_eq!(config.check().unwrap_err().key, "reservation_hold");
        }
    }
}
