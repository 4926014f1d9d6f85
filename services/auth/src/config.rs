//! Settings of the service.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::Times;
use crate::keys::MAX_AGE;
use crate::password::Passwords;
use crate::sealed::Vault;
use crate::sms::SmsSender;
use crate::wechat::Wechat;
use crate::{invites, limits, password, sealed, sms, wechat};

/// Verifiers read the public keys anew after 5 min; twice that, and a key is known to all of them.
const SHORTEST_PUBLISH: Duration = Duration::from_secs(10 * 60);
/// Clocks of verifiers differ from ours by at most this.
const LEEWAY: Duration = Duration::from_secs(60);

/// Settings of the auth service.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an access token lives, 1 min to 1 h.
    #[serde(with = "humantime_serde")]
    pub access_ttl: Duration,
    /// How long a refresh token lives, and with it a session that is not refreshed, 1 h to 90 days.
    #[serde(with = "humantime_serde")]
    pub refresh_ttl: Duration,
    /// How long the answer to a refresh may be lost and asked for again, at most 1 min.
    #[serde(with = "humantime_serde")]
    pub refresh_grace: Duration,
    /// Open sessions of one user, 1 to 1,000. One more ends the oldest.
    pub max_sessions: u32,
    /// How long sessions that are over stay in the database, at most 10 years.
    #[serde(with = "humantime_serde")]
    pub keep_sessions: Duration,
    /// How long a signing key is used, 1 h to 1 year.
    #[serde(with = "humantime_serde")]
    pub rotate_keys: Duration,
    /// How long users and configuration are cached, 2 min to 1 h.
    #[serde(with = "humantime_serde")]
    pub cache_ttl: Duration,
    /// How passwords are hashed.
    pub password: password::Config,
    /// Keys of what is stored encrypted. There is no default.
    pub vault: sealed::Config,
    /// How often something may be tried.
    pub limits: limits::Config,
    /// Who sends codes.
    pub sms: sms::Config,
    /// The WeChat mini program.
    pub wechat: wechat::Config,
    /// The pool of invite codes.
    pub invites: invites::Config,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: DAY * 7,
            refresh_grace: Duration::from_secs(10),
            max_sessions: 50,
            keep_sessions: DAY * 30,
            rotate_keys: DAY * 30,
            cache_ttl: Duration::from_secs(10 * 60),
            password: password::Config::default(),
            vault: sealed::Config::default(),
            limits: limits::Config::default(),
            sms: sms::Config::default(),
            wechat: wechat::Config::default(),
            invites: invites::Config::default(),
        }
    }
}

/// Why the service cannot be wired.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used; every mistake is named.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    /// The signing keys cannot be read or made.
    #[error("auth: the signing keys cannot be read or made")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the settings make.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) vault: Vault,
    pub(crate) passwords: Passwords,
    pub(crate) sms: SmsSender,
    pub(crate) wechat: Wechat,
}

impl Config {
    /// Checks everything, and makes what stands on the settings alone.
    pub(crate) fn parts(&self) -> Result<Parts, Error> {
        let mut wrong = self.mistakes();
        let vault = kept(Vault::new(&self.vault), &mut wrong);
        let passwords = kept(Passwords::new(&self.password), &mut wrong);
        let sms = kept(SmsSender::new(&self.sms), &mut wrong);
        let wechat = kept(Wechat::new(&self.wechat), &mut wrong);
        match (vault, passwords, sms, wechat) {
            (Some(vault), Some(passwords), Some(sms), Some(wechat)) if wrong.is_empty() => Ok(Parts {
                vault,
                passwords,
                sms,
                wechat,
            }),
            _ => Err(Error::Settings(wrong)),
        }
    }

    fn mistakes(&self) -> Vec<String> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let within = |value: Duration, least: Duration, most: Duration| (least..=most).contains(&value);
        let checks = [
            (
                "access_ttl",
                within(self.access_ttl, SECOND * 60, HOUR),
                "1 min to 1 h",
            ),
            (
                "refresh_ttl",
                within(self.refresh_ttl, HOUR, DAY * 90),
                "1 h to 90 days",
            ),
            (
                "refresh_grace",
                self.refresh_grace <= SECOND * 60,
                "at most 1 min",
            ),
            (
                "max_sessions",
                (1..=1000).contains(&self.max_sessions),
                "1 to 1,000",
            ),
            (
                "keep_sessions",
                self.keep_sessions <= DAY * 3650,
                "at most 10 years",
            ),
            (
                "rotate_keys",
                within(self.rotate_keys, HOUR, DAY * 366),
                "1 h to 1 year",
            ),
            (
                "cache_ttl",
                within(self.cache_ttl, SECOND * 120, HOUR),
                "2 min to 1 h",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, right, _)| !right)
            .map(|(name, _, range)| format!("auth.{name} must be {range}"))
            .collect()
    }

    /// A retired key is published until the last token it signed has expired: a replica may have signed with it for as long
    /// as it goes on with what it has read.
    pub(crate) fn key_times(&self) -> Times {
        Times {
            active: self.rotate_keys,
            publish: SHORTEST_PUBLISH,
            retired: self.access_ttl + MAX_AGE + LEEWAY,
        }
    }
}

fn kept<T, E: std::fmt::Display>(made: Result<T, E>, wrong: &mut Vec<String>) -> Option<T> {
    made.map_err(|error| wrong.push(error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_need_keys_only() {
        let mut config = Config::default();
        let error = config.parts().unwrap_err().to_string();
        assert!(error.starts_with("auth.vault: keys is empty"), "{error}");
        config.vault = sealed::Config::generate().unwrap();
        config.parts().unwrap();
    }

    #[test]
    fn every_mistake_is_named() {
        let mut config = Config {
            access_ttl: Duration::ZERO,
            max_sessions: 0,
            ..Config::default()
        };
        config.password.cost = 99;
        config.wechat.app_id = "wx1".to_owned();
        let error = config.parts().unwrap_err().to_string();
        for part in [
            "auth.access_ttl must be 1 min to 1 h",
            "auth.max_sessions must be 1 to 1,000",
            "auth.vault: ",
            "auth.password: ",
            "auth.wechat: ",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"acces_ttl": "1m"}"#).is_err());
        let config: Config = serde_json::from_str(r#"{"access_ttl": "5m"}"#).unwrap();
        assert_eq!(config.access_ttl, Duration::from_secs(300));
    }
}
