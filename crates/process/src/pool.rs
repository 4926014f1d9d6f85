//! Postgres pools: one for each service (and one for its steps), connected to the service's own schema.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Gauge, SharedString, describe_gauge, gauge};
use serde::Deserialize;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool, Postgres, Transaction};
use tokio::time::{Interval, MissedTickBehavior};

use crate::Supervisor;

/// How often pools are reported in the log by default.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// How often the gauges of a pool are set: often enough that a pool that is full for seconds is seen.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);
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

/// What a pool is doing at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections in the hands of callers.
    pub used: usize,
    /// Open connections nobody uses.
    pub free: usize,
    /// Callers of [`PoolGauge`] that wait for a connection.
    pub pending: usize,
    /// Limit of the pool.
    pub max: usize,
}

/// A pool that knows how many callers wait. The pool of sqlx does not tell, so only callers that come through
/// [`acquire`](Self::acquire) and [`begin`](Self::begin) of this type are counted as pending.
#[derive(Debug, Clone)]
pub struct PoolGauge {
    name: Arc<str>,
    pool: PgPool,
    pending: Arc<AtomicUsize>,
}

impl PoolGauge {
    /// Wraps a pool; clones share the count.
    #[must_use]
    pub fn new(name: &str, pool: PgPool) -> Self {
        Self {
            name: name.into(),
            pool,
            pending: Arc::default(),
        }
    }

    /// Returns the pool itself, for callers that need not be counted.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// None became free within the acquire timeout, or the database cannot be reached.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let _waiting = Waiting::new(&self.pending);
        self.pool.acquire().await
    }

    /// Begins a transaction on a connection of its own.
    ///
    /// # Errors
    /// None became free within the acquire timeout, or the database cannot be reached.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let _waiting = Waiting::new(&self.pending);
        self.pool.begin().await
    }

    /// Returns what the pool is doing now. The numbers are read one after the other, so they need not add up.
    #[must_use]
    pub fn usage(&self) -> PoolUse {
        let (size, free) = (self.pool.size() as usize, self.pool.num_idle());
        PoolUse {
            used: size.saturating_sub(free),
            free,
            pending: self.pending.load(Ordering::Relaxed),
            max: self.pool.options().get_max_connections() as usize,
        }
    }

    /// Writes one log line: used, free, pending, max.
    pub fn report(&self) {
        let PoolUse {
            used,
            free,
            pending,
            max,
        } = self.usage();
        tracing::info!(pool = &*self.name, used, free, pending, max, "pool");
    }
}

/// Counts a caller while it waits, also if it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sets the gauges of the pool every second, and writes its log line every `interval`, until the order to end.
pub fn spawn_report(gauge: PoolGauge, interval: Duration, supervisor: &Supervisor) {
    let stop = supervisor.shutdown().token();
    supervisor.spawn("pool report", async move {
        let numbers = Numbers::new(&gauge.name);
        let mut set = ticks(GAUGE_INTERVAL);
        let mut report = ticks(interval);
        let watching = async {
            loop {
                tokio::select! {
                    _ = set.tick() => numbers.set(gauge.usage()),
                    _ = report.tick() => gauge.report(),
                }
            }
        };
        stop.run_until_cancelled(watching).await;
        Ok::<_, Infallible>(())
    });
}

fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Gauges of one pool.
struct Numbers {
    used: Gauge,
    free: Gauge,
    pending: Gauge,
    max: Gauge,
}

impl Numbers {
    fn new(pool: &Arc<str>) -> Self {
        describe_gauge!(
            "db_pool_connections",
            "Connections of a pool by state: used by callers, free, or pending, which are callers that wait for one."
        );
        describe_gauge!("db_pool_connections_max", "Connections a pool opens at most.");
        let state = |state: &'static str| gauge!("db_pool_connections", "pool" => SharedString::from_shared(Arc::clone(pool)), "state" => state);
        Self {
            used: state("used"),
            free: state("free"),
            pending: state("pending"),
            max: gauge!("db_pool_connections_max", "pool" => SharedString::from_shared(Arc::clone(pool))),
        }
    }

    fn set(&self, now: PoolUse) {
        let PoolUse {
            used,
            free,
            pending,
            max,
        } = now;
        for (gauge, value) in [
            (&self.used, used),
            (&self.free, free),
            (&self.pending, pending),
            (&self.max, max),
        ] {
            gauge.set(value as f64);
        }
    }
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
