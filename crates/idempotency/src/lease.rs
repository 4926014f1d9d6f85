//! The right to run the request of a key.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::store::Store;
use crate::{Answer, Fingerprint, Unavailable, record};

/// The right to run the request of a key, until it ends or is not renewed in time. Dropped without an end it is given up,
/// so that a repetition may run: whoever held it has panicked.
#[derive(Debug)]
#[must_use = "a lease that is dropped is given up"]
pub struct Lease {
    store: Store,
    name: kv::Key,
    fingerprint: Fingerprint,
    record: Bytes,
    /// Whether there may be something to give up.
    owned: bool,
}

impl Lease {
    pub(crate) fn new(store: Store, name: kv::Key, fingerprint: Fingerprint, token: Uuid) -> Self {
        Self {
            store,
            name,
            fingerprint,
            record: record::lease(&fingerprint, token),
            owned: true,
        }
    }

    /// Writes the lease if nothing is there.
    pub(crate) async fn take(&self) -> Result<bool, kv::Error> {
        let ttl = self.store.config().lease;
        self.store.kv().put_if_absent(&self.name, &self.record, ttl).await
    }

    /// Leaves the key to whoever has it.
    pub(crate) fn disown(mut self) {
        self.owned = false;
    }

    /// Makes the lease last from now on; false if another request has the key. One that is gone because the store was
    /// flushed is written again.
    ///
    /// # Errors
    /// The store did not answer as it should; nobody knows whether the lease was renewed.
    pub async fn renew(&self) -> Result<bool, Unavailable> {
        let ttl = self.store.config().lease;
        let renewed = self
            .store
            .kv()
            .replace(&self.name, &self.record, &self.record, ttl)
            .await?;
        Ok(renewed || self.take().await?)
    }

    /// Renews the lease every third of its time until another request has the key; then waits for ever. What runs cannot be
    /// stopped in the middle: the database keeps the two apart.
    pub(crate) async fn keep(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(self.store.config().lease / 3).await;
            match self.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("a request has lost its idempotency key to a repetition and runs on");
                    std::future::pending::<()>().await;
                }
                Err(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a lease was not renewed; trying again"
                ),
            }
        }
    }

    /// Puts the answer in the place of the lease; false if it is not kept, because another request has the key or the record
    /// would be too large. In the latter case the key is free again.
    ///
    /// # Errors
    /// The store did not answer as it should. The key is free when the lease ends, and a repetition runs.
    pub async fn finish(mut self, answer: &Answer) -> Result<bool, Unavailable> {
        let Some(done) = record::done(&self.fingerprint, answer) else {
            self.release().await?;
            return Ok(false);
        };
        self.owned = false;
        let keep = self.store.config().keep;
        let kv = self.store.kv();
        let replaced = kv.replace(&self.name, &self.record, &done, keep).await?;
        // The store was flushed, or the lease has ended and nobody has taken the key since.
        Ok(replaced || kv.put_if_absent(&self.name, &done, keep).await?)
    }

    /// Gives the lease up: a repetition may run at once.
    ///
    /// # Errors
    /// The store did not answer as it should. The key is free when the lease ends.
    pub async fn release(mut self) -> Result<(), Unavailable> {
        self.owned = false;
        self.store.kv().remove_if(&self.name, &self.record).await?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        // Outside of a runtime the process is ending, and the lease ends by itself.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (store, name, record) = (self.store.clone(), self.name.clone(), self.record.clone());
        runtime.spawn(async move {
            // What took the lease may still be on its way to a store that was slow.
            for pause in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)] {
                tokio::time::sleep(pause).await;
                if matches!(store.kv().remove_if(&name, &record).await, Ok(true)) {
                    return;
                }
            }
        });
    }
}
