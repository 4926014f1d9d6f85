//! What can go wrong between us and a store.

use std::time::Duration;

/// The store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is lost or too slow. The operation has happened or not.
    #[error("kv: the store does not answer as it should")]
    Unavailable(#[source] Cause),
    /// The settings cannot be used.
    #[error("kv: {0}")]
    Config(String),
    /// A value is not what this operation writes: somebody else uses the key, or another group of operations does.
    #[error("kv: a value of `{family}` cannot be read")]
    Corrupt {
        /// Family of the key. The rest of the key is not told: it may name a person.
        family: &'static str,
    },
    /// Something is larger than it may be, or of another form. Nothing was done.
    #[error("kv: {0}")]
    Bounds(&'static str),
}

/// Why a store does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It took longer than it may.
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// No connection to Redis can be had.
    #[error("no connection to Redis")]
    Pool(#[from] deadpool_redis::PoolError),
    /// Redis refuses, or the connection broke.
    #[error("Redis failed")]
    Redis(#[from] redis::RedisError),
    /// Postgres refuses, or the connection broke.
    #[error("Postgres failed")]
    Postgres(#[from] sqlx::Error),
}

impl Error {
    /// Says whether the store is lost or too slow, so that the same call may succeed later.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
