//! Windows that are counted together: phone number, address, both, everybody.

use std::time::Duration;

use ids::UserId;
use kv::{Hit, Key, Kv, Limit};
use serde::Deserialize;

use super::Error;
use crate::phone::Phone;
use crate::sealed::Vault;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often something may be tried. 0 forbids it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Logins with one number from one address, each minute.
    pub login_pair_per_minute: u32,
    /// Logins with one number, each hour.
    pub login_phone_per_hour: u32,
    /// Logins, registrations and password resets from one address, each hour.
    pub login_ip_per_hour: u32,
    /// Logins of everybody, each minute.
    pub login_all_per_minute: u32,
    /// Codes to one number, each day. One a minute at most.
    pub codes_phone_per_day: u32,
    /// Codes that one address asks for, each day.
    pub codes_ip_per_day: u32,
    /// Codes of everybody, each minute: they cost money.
    pub codes_all_per_minute: u32,
    /// Passwords that a user who is logged in may try, each hour.
    pub passwords_per_hour: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            login_pair_per_minute: 5,
            login_phone_per_hour: 20,
            login_ip_per_hour: 100,
            login_all_per_minute: 3_000,
            codes_phone_per_day: 10,
            codes_ip_per_day: 50,
            codes_all_per_minute: 600,
            passwords_per_hour: 10,
        }
    }
}

/// Counts what is tried, and keeps codes. Cheap to clone.
///
/// Neither phone numbers nor codes are in the store as they are: both go through the vault's blind index.
#[derive(Debug, Clone)]
pub struct Limits {
    config: Config,
    pub(super) kv: Kv,
    pub(super) vault: Vault,
}

/// What is counted for whom.
type Window<'a> = (&'a str, &'a str, u32, Duration);

impl Limits {
    /// Makes it on a store.
    #[must_use]
    pub const fn new(config: Config, kv: Kv, vault: Vault) -> Self {
        Self { config, kv, vault }
    }

    /// Counts a login, by whatever.
    ///
    /// # Errors
    /// A limit is reached, or the store does not answer.
    pub async fn login(&self, phone: &Phone, ip: &str) -> Result<(), Error> {
        let phone = self.alias(phone);
        let pair = format!("{phone}/{ip}");
        let Config {
            login_pair_per_minute,
            login_phone_per_hour,
            login_ip_per_hour,
            login_all_per_minute,
            ..
        } = self.config;
        self.count(
            "login",
            &[
                ("pair", &pair, login_pair_per_minute, MINUTE),
                ("phone", &phone, login_phone_per_hour, HOUR),
                ("ip", ip, login_ip_per_hour, HOUR),
                ("all", "", login_all_per_minute, MINUTE),
            ],
        )
        .await
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn register(&self, phone: &Phone, ip: &str) -> Result<(), Error> {
        self.login(phone, ip).await
    }

    /// Counts a login by WeChat.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn wechat(&self, ip: &str) -> Result<(), Error> {
        let Config {
            login_ip_per_hour,
            login_all_per_minute,
            ..
        } = self.config;
        self.count(
            "login",
            &[
                ("ip", ip, login_ip_per_hour, HOUR),
                ("all", "", login_all_per_minute, MINUTE),
            ],
        )
        .await
    }

    /// Counts a password that a user who is logged in tries.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn password(&self, user_id: UserId) -> Result<(), Error> {
        let user = user_id.to_string();
        let max = self.config.passwords_per_hour;
        self.count("password", &[("user", &user, max, HOUR)]).await
    }

    pub(super) async fn code(&self, phone: &Phone, ip: &str, cooldown: Duration) -> Result<(), Error> {
        let phone = self.alias(phone);
        let Config {
            codes_phone_per_day,
            codes_ip_per_day,
            codes_all_per_minute,
            ..
        } = self.config;
        self.count(
            "code",
            &[
                ("cooldown", &phone, 1, cooldown),
                ("phone", &phone, codes_phone_per_day, DAY),
                ("ip", ip, codes_ip_per_day, DAY),
                ("all", "", codes_all_per_minute, MINUTE),
            ],
        )
        .await
    }

    /// What stands for a phone number in the store.
    pub(super) fn alias(&self, phone: &Phone) -> String {
        let blind = self.vault.blind("limits.phone", phone.e164());
        blind.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    async fn count(&self, what: &str, windows: &[Window<'_>]) -> Result<(), Error> {
        let limits: Vec<Limit> = windows
            .iter()
            // Whom nobody names is not one address: callers within the platform do not say.
            .filter(|(kind, whom, ..)| *kind != "ip" || !whom.is_empty())
            .map(|(kind, whom, max, window)| Limit {
                key: Key::new("rate", &[what, kind, whom]),
                max: *max,
                window: *window,
            })
            .collect();
        match self.kv.hit(&limits).await? {
            Hit::Within => Ok(()),
            Hit::Over { retry_after, .. } => Err(Error::Limited { retry_after }),
        }
    }
}
