//! The store on Redis. What takes more than one command is a script, sent by its digest.

mod pool;

use bytes::Bytes;
use deadpool::Runtime;
use redis::{AsyncCommands, AsyncConnectionConfig, RedisError, Script, ScriptInvocation};

use self::pool::{Loan, Manager, Pool};
use crate::limit::{self, Hit, Limit};
use crate::rotation::{self, Rotation};
use crate::store::millis;
use crate::versioned::{self, Versioned};
use crate::{Cause, Config, Error, Key};

/// Error code of our scripts for a value that is not theirs.
const CORRUPT: &str = "CORRUPT";
/// Error code of Redis for a value of another type.
const WRONG_TYPE: &str = "WRONGTYPE";

pub(crate) struct Redis {
    pool: Pool,
    scripts: Scripts,
}

/// Digests are computed once.
struct Scripts {
    replace: Script,
    remove_if: Script,
    add: Script,
    put_newer: Script,
    hit: Script,
    begin_rotation: Script,
    rotate: Script,
}

impl std::fmt::Debug for Redis {
    /// Leaves out the address, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}

impl Redis {
    pub(crate) fn new(url: &str, config: &Config) -> Result<Self, Error> {
        // Without a limit of its own a connection that is being made outlives the operation that wanted it.
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let form = "redis://[user:password@]host:port[/database]";
        let unusable = |_| Error::Config(format!("the URL of Redis is not of the form {form}"));
        let manager = Manager::new(url, limits).map_err(unusable)?;
        let pool = Pool::builder(manager)
            .max_size(config.connections)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(config.timeout))
            .recycle_timeout(Some(config.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| Error::Config("the pool of Redis needs a runtime".to_owned()))?;
        Ok(Self {
            pool,
            scripts: Scripts {
                replace: Script::new(include_str!("redis/replace.lua")),
                remove_if: Script::new(include_str!("redis/remove_if.lua")),
                add: Script::new(include_str!("redis/add.lua")),
                put_newer: Script::new(include_str!("redis/put_newer.lua")),
                hit: Script::new(include_str!("redis/hit.lua")),
                begin_rotation: Script::new(include_str!("redis/begin_rotation.lua")),
                rotate: Script::new(include_str!("redis/rotate.lua")),
            },
        })
    }

    async fn connection(&self) -> Result<Loan, Error> {
        let connection = self.pool.get().await;
        connection.map_err(|error| Error::Unavailable(Cause::Pool(error)))
    }

    async fn call<T: redis::FromRedisValue>(
        &self,
        key: &Key,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let mut connection = self.connection().await?;
        script.invoke_async(&mut *connection).await.map_err(failed(key))
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let mut connection = self.connection().await?;
        connection.get(key.as_str()).await.map_err(failed(key))
    }

    pub(crate) async fn put(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("SET");
        command.arg(key.as_str()).arg(value).arg("PX").arg(ttl_ms);
        command.query_async(&mut *connection).await.map_err(failed(key))
    }

    pub(crate) async fn put_if_absent(&self, key: &Key, value: &[u8], ttl_ms: i64) -> Result<bool, Error> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("SET");
        command
            .arg(key.as_str())
            .arg(value)
            .arg("PX")
            .arg(ttl_ms)
            .arg("NX");
        let put: Option<String> = command.query_async(&mut *connection).await.map_err(failed(key))?;
        Ok(put.is_some())
    }

    pub(crate) async fn replace(
        &self,
        key: &Key,
        expected: &[u8],
        new: &[u8],
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let mut call = self.scripts.replace.key(key.as_str());
        self.call(key, call.arg(expected).arg(new).arg(ttl_ms)).await
    }

    pub(crate) async fn remove(&self, key: &Key) -> Result<bool, Error> {
        let mut connection = self.connection().await?;
        connection.del(key.as_str()).await.map_err(failed(key))
    }

    pub(crate) async fn remove_if(&self, key: &Key, expected: &[u8]) -> Result<bool, Error> {
        let mut call = self.scripts.remove_if.key(key.as_str());
        self.call(key, call.arg(expected)).await
    }

    pub(crate) async fn take(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let mut connection = self.connection().await?;
        connection.get_del(key.as_str()).await.map_err(failed(key))
    }

    pub(crate) async fn add(&self, key: &Key, delta: i64, ttl_ms: Option<i64>) -> Result<i64, Error> {
        let mut call = self.scripts.add.key(key.as_str());
        self.call(key, call.arg(delta).arg(ttl_ms.unwrap_or(0))).await
    }

    pub(crate) async fn put_newer(
        &self,
        key: &Key,
        version: i64,
        value: Option<&[u8]>,
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let record = versioned::encode(version, value);
        let mut call = self.scripts.put_newer.key(key.as_str());
        self.call(key, call.arg(record.as_ref()).arg(ttl_ms)).await
    }

    pub(crate) async fn get_versioned(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        let record = self.get(key).await?;
        record.map(|record| versioned::decode(key, &record)).transpose()
    }

    pub(crate) async fn hit(&self, limits: &[Limit]) -> Result<Hit, Error> {
        let Some(first) = limits.first() else {
            return Ok(Hit::Within);
        };
        let mut call = self.scripts.hit.prepare_invoke();
        for limit in limits {
            call.key(limit.key.as_str())
                .arg(limit.max)
                .arg(millis(limit.window));
        }
        let (place, retry_after_ms): (i64, i64) = self.call(&first.key, &call).await?;
        Ok(limit::answer(place, retry_after_ms))
    }

    pub(crate) async fn begin_rotation(&self, key: &Key, first: &str, ttl_ms: i64) -> Result<(), Error> {
        let mut call = self.scripts.begin_rotation.key(key.as_str());
        self.call(key, call.arg(first).arg(ttl_ms)).await
    }

    pub(crate) async fn rotate(
        &self,
        key: &Key,
        presented: &str,
        next: &str,
        grace_ms: i64,
        ttl_ms: i64,
    ) -> Result<Rotation, Error> {
        let mut call = self.scripts.rotate.key(key.as_str());
        call.arg(presented).arg(next).arg(grace_ms).arg(ttl_ms);
        let (outcome, current): (String, Option<String>) = self.call(key, &call).await?;
        rotation::answer(key.family(), &outcome, current)
    }
}

/// Tells a value that is not ours from a store that does not answer.
fn failed(key: &Key) -> impl FnOnce(RedisError) -> Error {
    let family = key.family();
    move |error| match error.code() {
        Some(CORRUPT | WRONG_TYPE) => Error::Corrupt { family },
        _ => Error::Unavailable(Cause::Redis(error)),
    }
}
