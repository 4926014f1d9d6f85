//! The store of a process.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use crate::limit::{self, Hit, Limit};
use crate::metric::{self, Op};
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::rotation::{self, Rotation};
use crate::sweep::{self, Job};
use crate::{Cause, Config, Error, Key, MAX_VALUE_BYTES, Versioned};

/// A year and a day: what is kept for longer belongs in the database.
const LONGEST_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Redis, or the Postgres store. Clones share connections; nothing is connected before the first operation, and a store
/// that was lost is used again as soon as it answers.
///
/// A time to live is rounded up to whole milliseconds, 1 ms to 366 days; what is out of that range is taken as the nearer
/// end. All operations are atomic, and may be called by any number of processes at once.
///
/// # Errors
/// Every operation: [`Error::Unavailable`] when the store is lost or took longer than [`Config::timeout`];
/// [`Error::Corrupt`] when the value was not written by the same group of operations. Operations that write:
/// [`Error::Bounds`] when the value is larger than [`MAX_VALUE_BYTES`].
#[derive(Debug, Clone)]
pub struct Kv {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backend: Backend,
    timeout: Duration,
}

#[derive(Debug)]
enum Backend {
    Redis(Box<Redis>),
    Postgres(Postgres),
}

/// Calls the same operation of either backend, within the time, and counts it. Boxed, since the state of a driver takes 14
/// KB, which every caller would carry.
macro_rules! run {
    ($self:ident, $op:expr, $backend:ident => $call:expr) => {{
        let work = async {
            match &$self.inner.backend {
                Backend::Redis($backend) => $call.await,
                Backend::Postgres($backend) => $call.await,
            }
        };
        $self.counted($op, Box::pin(work)).await
    }};
}

impl Kv {
    /// Makes the store that `config` names. `pool` is on the schema [`SCHEMA`](crate::SCHEMA); Redis leaves it alone.
    /// Connects to nothing.
    ///
    /// # Errors
    /// A setting is out of range, or the URL cannot be read; the text does not show it.
    pub fn open(config: &Config, pool: PgPool) -> Result<Self, Error> {
        config.check()?;
        let backend = match config.redis() {
            Some(url) => Backend::Redis(Box::new(Redis::new(url, config)?)),
            None => Backend::Postgres(Postgres::new(pool)),
        };
        metric::init();
        let inner = Inner {
            backend,
            timeout: config.timeout,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Says which store it is: `redis` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.inner.backend {
            Backend::Redis(_) => "redis",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// Makes the job `kv.sweep`, which deletes what has ended. Every process runs one; they do not wait for each other.
    #[must_use]
    pub fn sweeper(&self) -> Job {
        sweep::job(match &self.inner.backend {
            Backend::Redis(_) => None,
            Backend::Postgres(postgres) => Some(postgres.clone()),
        })
    }

    /// Returns the value.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        run!(self, Op::Get, store => store.get(key))
    }

    /// Writes the value, whatever is there.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), Error> {
        run!(self, Op::Put, store => async { store.put(key, bounded(value)?, millis(ttl)).await })
    }

    /// Writes the value if there is none, and says whether it did.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, Error> {
        run!(self, Op::PutIfAbsent, store => async {
            store.put_if_absent(key, bounded(value)?, millis(ttl)).await
        })
    }

    /// Writes `new` in the place of `expected`, and says whether that was there. The time to live begins anew.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn replace(
        &self,
        key: &Key,
        expected: &[u8],
        new: &[u8],
        ttl: Duration,
    ) -> Result<bool, Error> {
        run!(self, Op::Replace, store => async {
            store.replace(key, expected, bounded(new)?, millis(ttl)).await
        })
    }

    /// Removes what is there, of any group of operations, and says whether something was.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn remove(&self, key: &Key) -> Result<bool, Error> {
        run!(self, Op::Remove, store => store.remove(key))
    }

    /// Removes the value if it is `expected`, and says whether it was.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn remove_if(&self, key: &Key, expected: &[u8]) -> Result<bool, Error> {
        run!(self, Op::RemoveIf, store => store.remove_if(key, expected))
    }

    /// Returns the value and removes it; of several callers one gets it.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn take(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        run!(self, Op::Take, store => store.take(key))
    }

    /// Adds to a counter, which begins with 0, and returns the sum. [`get`](Self::get) reads it as decimal digits.
    ///
    /// `ttl` counts from the first addition and is not prolonged by later ones; without it a new counter has no end.
    ///
    /// # Errors
    /// See [`Kv`]; [`Error::Corrupt`] also if the sum has more than 64 bits.
    pub async fn add(&self, key: &Key, delta: i64, ttl: Option<Duration>) -> Result<i64, Error> {
        run!(self, Op::Add, store => store.add(key, delta, ttl.map(millis)))
    }

    /// Writes a version unless a higher one is there, and says whether it did. `None` is a tombstone: what was there is
    /// out of date. The same version replaces itself, so that whoever reads the new value can fill the tombstone.
    ///
    /// A version that has ended keeps nobody out: `ttl` of a tombstone has to be longer than a reader takes between
    /// reading the database and writing here.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn put_newer(
        &self,
        key: &Key,
        version: i64,
        value: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<bool, Error> {
        run!(self, Op::PutNewer, store => async {
            let value = value.map(bounded).transpose()?;
            store.put_newer(key, version, value, millis(ttl)).await
        })
    }

    /// Returns what [`put_newer`](Self::put_newer) wrote.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn get_versioned(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        run!(self, Op::GetVersioned, store => store.get_versioned(key))
    }

    /// Counts one hit in every window, or in none if one of them is full. No limits are always within.
    ///
    /// # Errors
    /// See [`Kv`]; [`Error::Bounds`] for more than [`MAX_LIMITS`](crate::MAX_LIMITS) limits, or two with one key.
    pub async fn hit(&self, limits: &[Limit]) -> Result<Hit, Error> {
        run!(self, Op::Hit, store => async {
            limit::check(limits)?;
            if limits.is_empty() {
                return Ok(Hit::Within);
            }
            store.hit(limits).await
        })
    }

    /// Begins a family of ids with the first active one, in the place of any that is there. Ids are 1 to 128 visible
    /// ASCII characters.
    ///
    /// # Errors
    /// See [`Kv`]; [`Error::Bounds`] if `first` is not of that form.
    pub async fn begin_rotation(&self, key: &Key, first: &str, ttl: Duration) -> Result<(), Error> {
        run!(self, Op::BeginRotation, store => async {
            rotation::check_id(first)?;
            store.begin_rotation(key, first, millis(ttl)).await
        })
    }

    /// Presents an id of a family; `next` is a new id, which becomes active if the presented one is.
    ///
    /// The active id: [`Rotation::Rotated`]. Its parent: [`Rotation::Repeated`], within `grace` with the id that is
    /// active, later with `next`, which takes the place of the active one. Another: [`Rotation::Reused`], and the family is
    /// removed. `presented` may be any text. The time to live begins anew with every id that becomes active.
    ///
    /// # Errors
    /// See [`Kv`]; [`Error::Bounds`] if `next` is not 1 to 128 visible ASCII characters.
    pub async fn rotate(
        &self,
        key: &Key,
        presented: &str,
        next: &str,
        grace: Duration,
        ttl: Duration,
    ) -> Result<Rotation, Error> {
        run!(self, Op::Rotate, store => async {
            rotation::check_id(next)?;
            let presented = rotation::presented(presented);
            store.rotate(key, presented, next, whole_millis(grace), millis(ttl)).await
        })
    }

    async fn counted<T>(
        &self,
        op: Op,
        work: Pin<Box<impl Future<Output = Result<T, Error>>>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let limit = self.inner.timeout;
        let result = timeout(limit, work)
            .await
            .unwrap_or(Err(Error::Unavailable(Cause::Slow(limit))));
        metric::operation(op, result.as_ref().err(), begun.elapsed());
        result
    }
}

fn bounded(value: &[u8]) -> Result<&[u8], Error> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::Bounds("a value is larger than 64 KiB"));
    }
    Ok(value)
}

/// Whole milliseconds, 1 to 366 days.
pub(crate) fn millis(ttl: Duration) -> i64 {
    whole_millis(ttl).max(1)
}

/// Whole milliseconds, 0 to 366 days.
fn whole_millis(time: Duration) -> i64 {
    let nanos = time.min(LONGEST_TTL).as_nanos();
    i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_and_kept_in_range() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_001)), 2);
        assert_eq!(millis(Duration::MAX), 366 * 24 * 60 * 60 * 1000);
        assert_eq!(whole_millis(Duration::ZERO), 0);
    }
}
