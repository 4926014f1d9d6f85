//! Postgres pools: one for each service (and one for its steps), connected to the service's own schema.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};

mod gauge;

pub use gauge::{PoolGauge, PoolUse, REPORT_INTERVAL, spawn_report};

/// A statement that runs longer is cancelled by the server; no statement of a service should come near it.
const STATEMENT_TIMEOUT: &str = "30s";
/// A transaction left open without work is ended by the server, so that a lost client does not keep locks.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "60s";
/// A connection that was unused for longer is tested before use: it may have died with a server since. Busy
/// connections are not, which saves a round trip.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// Longest name Postgres keeps of a schema or application.
const MAX_NAME_BYTES: usize = 63;

/// Limits of a pool.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Connections kept open, 0 to `max`.
    pub min: u32,
    /// Connections opened at most, at least 1.
    pub max: u32,
    /// A connection above `min` that is unused for so long is closed. Text such as `30s`.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How long a caller waits for a connection before it gets an error. Text such as `10s`.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            min: 10,
            max: 100,
            idle: Duration::from_secs(30),
            acquire_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for PoolConfig {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            min,
            max,
            idle,
            acquire_timeout,
        } = self;
        f.debug_struct("PoolConfig")
            .field("min", min)
            .field("max", max)
            .field("idle", idle)
            .field("acquire_timeout", acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limits contradict each other.
    #[error("pool `{name}`: {problem}")]
    Limits {
        /// The pool.
        name: String,
        /// The contradiction.
        problem: String,
    },
    /// A schema name is not `[a-z_][a-z0-9_]*` of at most 63 bytes.
    #[error("`{0}` is not a schema name: want [a-z_][a-z0-9_]*, at most 63 bytes")]
    Schema(String),
    /// The URL cannot be read. Its text is not shown since it may hold a password.
    #[error("pool `{name}`: the database URL is not of the form postgres://user:password@host:port/database")]
    Url {
        /// The pool.
        name: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The database does not answer or refuses us.
    #[error("pool `{name}`: cannot connect to {host}:{port}")]
    Connect {
        /// The pool.
        name: String,
        /// Host of the database.
        host: String,
        /// Port of the database.
        port: u16,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

/// Opens a pool on `schema` and checks the first connection, so that a wrong URL is an error at start.
///
/// Every connection has the application name `evenkeel/<name>`, `search_path` set to the schema alone, and timeouts of
/// 30 s for a statement and 60 s for an idle transaction.
///
/// # Errors
/// Contradicting limits, a bad schema name or URL, or a database that cannot be reached within `acquire_timeout`.
pub async fn connect(name: &str, schema: &str, config: &PoolConfig) -> Result<PgPool, Error> {
    check(name, config)?;
    let options = connect_options(name, schema, &config.url)?;
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    PgPoolOptions::new()
        .min_connections(config.min)
        .max_connections(config.max)
        .idle_timeout(config.idle)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TEST_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(|source| Error::Connect {
            name: name.to_owned(),
            host,
            port,
            source,
        })
}

/// Checks that `schema` may be written into SQL and into connection options as it is.
pub(crate) fn check_schema(schema: &str) -> Result<(), Error> {
    let mut bytes = schema.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && schema.len() <= MAX_NAME_BYTES;
    if good {
        Ok(())
    } else {
        Err(Error::Schema(schema.to_owned()))
    }
}

fn connect_options(name: &str, schema: &str, url: &str) -> Result<PgConnectOptions, Error> {
    check_schema(schema)?;
    let options = PgConnectOptions::from_str(url).map_err(|source| Error::Url {
        name: name.to_owned(),
        source,
    })?;
    Ok(options.application_name(&application_name(name)).options([
        ("search_path", schema),
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
    ]))
}

fn application_name(name: &str) -> String {
    let mut full = format!("evenkeel/{name}");
    while full.len() > MAX_NAME_BYTES {
        full.pop();
    }
    full
}

fn check(name: &str, config: &PoolConfig) -> Result<(), Error> {
    let problem = if config.url.is_empty() {
        "no database URL is configured; set DATABASE_URL or the key `url`".to_owned()
    } else if config.max == 0 {
        "max is 0; at least one connection is needed".to_owned()
    } else if config.min > config.max {
        format!("min {} is above max {}", config.min, config.max)
    } else if config.acquire_timeout.is_zero() {
        "acquire_timeout is 0; every wait would fail".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Limits {
        name: name.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PoolConfig {
        PoolConfig {
            url: "postgres://u:secret@h/d".to_owned(),
            ..PoolConfig::default()
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", config()).contains("secret"));
        let error = connect_options("quota", "quota", "postgres//u:secret@").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn contradicting_limits_are_named() {
        for (config, word) in [
            (
                PoolConfig {
                    url: String::new(),
                    ..config()
                },
                "DATABASE_URL",
            ),
            (PoolConfig { max: 0, ..config() }, "max is 0"),
            (
                PoolConfig {
                    min: 11,
                    max: 10,
                    ..config()
                },
                "min 11 is above max 10",
            ),
            (
                PoolConfig {
                    acquire_timeout: Duration::ZERO,
                    ..config()
                },
                "acquire_timeout",
            ),
        ] {
            let text = check("quota", &config).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_schema_name_cannot_carry_sql() {
        assert!(check_schema("quota_2").is_ok());
        for bad in [
            "",
            "Quota",
            "2quota",
            "a b",
            "a,b",
            "a;drop",
            "a\"",
            &"a".repeat(64),
        ] {
            assert!(check_schema(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_application_name_is_cut_to_what_postgres_keeps() {
        assert_eq!(application_name("quota"), "evenkeel/quota");
        assert_eq!(application_name(&"é".repeat(60)).len(), 63);
    }
}
