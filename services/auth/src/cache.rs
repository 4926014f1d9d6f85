//! Users and configuration in the key-value store, beside the database.
//!
//! Every value carries the version of what it was read from, and a lower version never replaces a higher one. A change
//! leaves a tombstone of its version *before* it commits: from then on nobody can store what was read earlier, and readers
//! go to the database. So a stale value does not come back, however slow its reader was, and whatever instruction the
//! writer died at. A tombstone whose change was rolled back only costs reads.
//!
//! Without the store everything is read from the database.

use std::time::Duration;

use ids::UserId;
use kv::{Key, Kv, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::{Account, Entry};
use crate::error::{Error, chain};

/// A reader that took longer since it began to read does not store what it has read: the tombstone of a change that
/// came in between may have ended.
const FILL_WITHIN: Duration = Duration::from_secs(30);

/// The cache. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    kv: Kv,
    /// How long values and tombstones stay; more than twice [`FILL_WITHIN`].
    ttl: Duration,
}

/// The public entries of the configuration, all of one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublicEntries {
    pub(crate) revision: i64,
    pub(crate) entries: Vec<Entry>,
}

/// What is cached: its version orders what is stored.
pub(crate) trait Cached: Serialize + DeserializeOwned {
    fn version(&self) -> i64;
}

impl Cached for Account {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Cached for PublicEntries {
    fn version(&self) -> i64 {
        self.revision
    }
}

/// Key of a user. The number is that of the format.
pub(crate) fn of_user(user_id: UserId) -> Key {
    Key::new("cache-user", &[&user_id.to_string(), "1"])
}

/// Key of the public configuration. The number is that of the format.
pub(crate) fn of_configuration() -> Key {
    Key::new("cache-configuration", &["public", "1"])
}

impl Cache {
    pub(crate) fn new(kv: Kv, ttl: Duration) -> Self {
        Self { kv, ttl }
    }

    /// Returns what is cached, or what `read` finds, which is then cached.
    pub(crate) async fn get<T: Cached>(
        &self,
        key: &Key,
        read: impl Future<Output = Result<Option<T>, Error>>,
    ) -> Result<Option<T>, Error> {
        match self.kv.get_versioned(key).await {
            Ok(Some(Versioned {
                value: Some(bytes), ..
            })) => {
                // Another format under the same key is a defect that must not stop readers.
                match serde_json::from_slice(&bytes) {
                    Ok(value) => return Ok(Some(value)),
                    Err(error) => tracing::error!(%error, ?key, "a cached value cannot be read"),
                }
            }
            Ok(Some(Versioned { value: None, .. }) | None) => {}
            Err(error) => tracing::warn!(error = chain(&error), ?key, "read from the database instead"),
        }
        let begun = Instant::now();
        let value = read.await?;
        if let Some(value) = &value
            && begun.elapsed() < FILL_WITHIN
        {
            self.fill(key, value).await;
        }
        Ok(value)
    }

    /// Makes sure that nothing older than `version` is stored or found from now on.
    pub(crate) async fn retire(&self, key: &Key, version: i64) -> Result<(), kv::Error> {
        // False: a later change was there first, which is as good.
        self.kv.put_newer(key, version, None, self.ttl).await.map(drop)
    }

    /// Does the same, unless what is stored is of this version already.
    pub(crate) async fn retire_older(&self, key: &Key, version: i64) -> Result<(), kv::Error> {
        match self.kv.get_versioned(key).await? {
            Some(found) if found.version >= version => Ok(()),
            // Also where nothing is: a reader from before the change may be about to store what it has read.
            Some(_) | None => self.retire(key, version).await,
        }
    }

    /// Stores a value unless a newer one is there. That it does not work out costs a read later.
    pub(crate) async fn fill<T: Cached>(&self, key: &Key, value: &T) {
        let Ok(bytes) = serde_json::to_vec(value) else {
            return;
        };
        if bytes.len() > kv::MAX_VALUE_BYTES {
            return;
        }
        if let Err(error) = self
            .kv
            .put_newer(key, value.version(), Some(&bytes), self.ttl)
            .await
        {
            tracing::debug!(error = chain(&error), ?key, "not cached");
        }
    }
}
