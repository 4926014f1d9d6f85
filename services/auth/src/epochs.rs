//! Epochs of users in the key-value store, where every service looks before it lets an administrator in.
//!
//! The database is right. The store has to know an epoch for as long as access tokens from before it live; it forgets it
//! afterwards. A change is published after its commit; should the process die in between, or the store be away or come
//! back empty, then the job publishes it: it goes through everything that was raised within that time, over and over.

use std::time::Duration;

use ids::UserId;
use kv::Kv;
use process::PoolGauge;

use crate::cache::{self, Cache};
use crate::error::Error;
use crate::store;

/// Clocks differ, and the job takes a while to come round.
const SLACK: Duration = Duration::from_secs(5 * 60);
/// A race is lost to somebody who wrote a higher epoch; more often than this it is not a race.
const ATTEMPTS: u32 = 16;
const PAGE: u32 = 500;

/// Where epochs are published. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Epochs {
    kv: Kv,
    /// How long an access token lives.
    access_ttl: Duration,
}

impl Epochs {
    pub(crate) fn new(kv: Kv, access_ttl: Duration) -> Self {
        Self { kv, access_ttl }
    }

    /// Raises the published epoch of a user to at least `epoch`. Never lowers it, whatever comes in between.
    pub(crate) async fn publish(&self, user_id: UserId, epoch: i64) -> Result<(), Error> {
        let key = token::epoch_key(user_id);
        let (text, ttl) = (epoch.to_string(), self.access_ttl + SLACK);
        for _ in 0..ATTEMPTS {
            let written = match self.kv.get(&key).await? {
                None => self.kv.put_if_absent(&key, text.as_bytes(), ttl).await?,
                Some(old) if read(&old).is_some_and(|old| old >= epoch) => true,
                Some(old) => self.kv.replace(&key, &old, text.as_bytes(), ttl).await?,
            };
            if written {
                return Ok(());
            }
        }
        Err(Error::Broken("an epoch is written by too many at once"))
    }

    /// Publishes everything that was raised while tokens from before may live, and keeps older users out of the cache.
    pub(crate) async fn publish_all(&self, pool: &PoolGauge, cache: &Cache) -> Result<(), Error> {
        let mut after = None;
        loop {
            let window = self.access_ttl + SLACK;
            let page = store::account::raised_epochs(pool, window, after, i64::from(PAGE)).await?;
            for (user_id, epoch, version) in &page {
                self.publish(*user_id, *epoch).await?;
                cache.retire_older(&cache::of_user(*user_id), *version).await?;
            }
            match page.last() {
                Some((last, ..)) if page.len() == PAGE as usize => after = Some(*last),
                _ => return Ok(()),
            }
        }
    }
}

fn read(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
