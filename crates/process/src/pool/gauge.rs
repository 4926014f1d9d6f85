//! What a pool is doing: in the log, and as metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, SinkExt, StreamExt, TryStreamExt};
use metrics::{Gauge, SharedString, describe_gauge, gauge};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Acquire, Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr, Transaction};
use tokio::time::{Interval, MissedTickBehavior};

use crate::Supervisor;

/// How often pools are reported in the log by default.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// Rows that were read and wait for their reader.
const ROWS_IN_HAND: usize = 64;
/// How often the gauges of a pool are set: often enough that a pool that is full for seconds is seen.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

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

/// A pool that knows how many callers wait. The pool of sqlx does not tell, so only callers that come through this type are
/// counted as pending. It executes queries as a pool of sqlx does, each on a connection of its own.
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

    /// Begins a transaction with a statement of the caller's, such as `begin isolation level read committed`.
    ///
    /// # Errors
    /// None became free within the acquire timeout, or the database cannot be reached.
    pub async fn begin_with(
        &self,
        statement: &'static str,
    ) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let _waiting = Waiting::new(&self.pending);
        self.pool.begin_with(statement).await
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

impl<'a> Acquire<'a> for &'_ PoolGauge {
    type Database = Postgres;

    type Connection = PoolConnection<Postgres>;

    fn acquire(self) -> BoxFuture<'a, Result<Self::Connection, sqlx::Error>> {
        let gauge = self.clone();
        async move { PoolGauge::acquire(&gauge).await }.boxed()
    }

    fn begin(self) -> BoxFuture<'a, Result<Transaction<'a, Postgres>, sqlx::Error>> {
        let gauge = self.clone();
        async move {
            let _waiting = Waiting::new(&gauge.pending);
            Acquire::begin(&gauge.pool).await
        }
        .boxed()
    }
}

impl<'p> Executor<'p> for &'_ PoolGauge {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let gauge = self.clone();
        // The rows borrow from the connection, so one future holds both and hands the rows over.
        let (mut found, read) = mpsc::channel(ROWS_IN_HAND);
        let fetch = async move {
            let mut connection = gauge.acquire().await?;
            let mut rows = connection.fetch_many(query);
            while let Some(row) = rows.try_next().await? {
                if found.send(row).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let failed = stream::once(fetch).filter_map(async |fetched: Result<(), _>| fetched.err().map(Err));
        stream::select(read.map(Ok), failed).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let gauge = self.clone();
        async move { gauge.acquire().await?.fetch_optional(query).await }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let gauge = self.clone();
        async move { gauge.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }

    // Part of the trait because of the feature `offline`, which the macros of sqlx bring along.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let gauge = self.clone();
        async move { gauge.acquire().await?.describe(sql).await }.boxed()
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
