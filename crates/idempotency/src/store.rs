//! Keys and what became of their requests.

use std::sync::Arc;

use kv::Kv;
use uuid::Uuid;

use crate::lease::Lease;
use crate::record::{self, Verdict};
use crate::{Answer, Config, ConfigError, Fingerprint, Key, Scope, metric};

/// How often a key is looked at that is neither free nor held: its lease ended between two looks.
const LOOKS: u32 = 3;

/// The store of keys. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kv: Kv,
    config: Config,
}

/// What a request with a key may do.
#[derive(Debug)]
pub enum Begin {
    /// Run: the key is this request's.
    Begun(Lease),
    /// Answer with this: the same request has ended.
    Replay(Answer),
    /// Wait: the same request is running.
    InFlight,
    /// Nothing: another request has the key.
    Mismatch,
}

/// The store of keys does not answer as it should. Nothing may be run.
#[derive(Debug, thiserror::Error)]
#[error("idempotency: the store of keys does not answer as it should")]
pub struct Unavailable(#[from] kv::Error);

impl Store {
    /// Makes the store. Connects to nothing.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn new(kv: Kv, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        metric::init();
        let inner = Inner { kv, config };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn kv(&self) -> &Kv {
        &self.inner.kv
    }

    /// Takes a key for a request, or says what became of the request that has it. `space` keeps the keys of different
    /// servers apart, which may see one key of one caller on its way.
    ///
    /// # Errors
    /// The store did not answer in time, or with something that is no record. The lease may have been taken; it is given up
    /// as well as can be, else it ends by itself.
    pub async fn begin(
        &self,
        scope: &Scope,
        space: &str,
        key: &Key,
        fingerprint: Fingerprint,
    ) -> Result<Begin, Unavailable> {
        let name = kv::Key::new("idempotency", &[&scope.0, space, key.as_str()]);
        for _ in 0..LOOKS {
            // Before the first wait: gives up what was taken although nobody heard of it, or is no longer waited for.
            let lease = Lease::new(self.clone(), name.clone(), fingerprint, Uuid::new_v4());
            if lease.take().await? {
                return Ok(Begin::Begun(lease));
            }
            lease.disown();
            let Some(found) = self.kv().get(&name).await? else {
                continue;
            };
            let family = name.family();
            let found = record::parse(&found).ok_or(kv::Error::Corrupt { family })?;
            return Ok(match record::decide(found, &fingerprint) {
                Verdict::InFlight => Begin::InFlight,
                Verdict::Replay(answer) => Begin::Replay(answer),
                Verdict::Mismatch => Begin::Mismatch,
            });
        }
        Ok(Begin::InFlight)
    }
}
