//! The handle that services have.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::MAX_PLAIN_BYTES;
use crate::aad::Place;
use crate::config::{Config, ConfigError};
use crate::data_key::DataKey;
use crate::envelope::{self, Envelope};
use crate::error::Error;
use crate::key_id::KeyId;
use crate::provider::{Provider, Wrapped};

/// Seals, opens and re-wraps fields. Cheap to clone.
#[derive(Clone)]
pub struct Kms(Arc<Inner>);

struct Inner {
    /// Seals.
    current: Provider,
    /// Open what they have sealed before.
    others: Vec<Provider>,
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kms")
            .field("current", &self.0.current)
            .field("others", &self.0.others)
            .finish()
    }
}

impl Kms {
    /// Makes a handle whose `current` provider seals; the others only open.
    #[must_use]
    pub fn new(current: Provider, others: Vec<Provider>) -> Self {
        Self(Arc::new(Inner { current, others }))
    }

    /// Makes the handle that is configured; `None` if nothing is.
    ///
    /// # Errors
    /// The settings are incomplete, or the key file cannot be used.
    pub fn open_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        config.open()
    }

    /// Returns the key under which fields are sealed now.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.0.current.current()
    }

    /// Returns the key under which a field is sealed. What the envelope says is not proven before it is opened.
    ///
    /// # Errors
    /// The bytes are no sealed field.
    pub fn key_of(&self, sealed: &[u8]) -> Result<KeyId, Error> {
        Ok(read(sealed)?.key)
    }

    /// Seals a field for its place, under a data key of its own.
    ///
    /// # Errors
    /// It is too large, the place is none, or the key service is away or refuses.
    pub async fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        place.check()?;
        if plain.len() > MAX_PLAIN_BYTES {
            return Err(Error::TooLarge);
        }
        let (key, wrapped) = self.0.current.generate(&place).await?;
        key.seal(&place, &wrapped.key, &wrapped.bytes, plain)
    }

    /// Opens a field of a place.
    ///
    /// # Errors
    /// It is damaged, belongs elsewhere, its key is gone, or the key service is away or refuses.
    pub async fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        place.check()?;
        let envelope = read(sealed)?;
        let key = self.data_key(&place, &envelope).await?;
        key.open(&place, &envelope)
    }

    /// Wraps the data key of a field under the current key; `None` if it is already. The content stays as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open): what comes back was opened, so that it may replace what was there.
    pub async fn rewrap(&self, place: Place<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        place.check()?;
        let envelope = read(sealed)?;
        if envelope.key == self.current() {
            return Ok(None);
        }
        let wrapped = match self.re_encrypt(&place, &envelope).await? {
            Some(wrapped) => wrapped,
            None => {
                let key = self.data_key(&place, &envelope).await?;
                self.0.current.wrap(&place, &key).await?
            }
        };
        self.with(&place, &envelope, &wrapped).await.map(Some)
    }

    /// Does what [`rewrap`](Self::rewrap) does, and also renews what the current master key has wrapped before the key
    /// service gave it new material; `None` if there was nothing to renew. Asks the service about every field.
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub async fn refresh(&self, place: Place<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        place.check()?;
        let envelope = read(sealed)?;
        if envelope.key != self.current() {
            return self.rewrap(place, sealed).await;
        }
        match self.re_encrypt(&place, &envelope).await? {
            Some(wrapped) if wrapped.bytes != envelope.wrapped => {
                self.with(&place, &envelope, &wrapped).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Lets the key service change the wrapping by itself, where it holds both keys.
    async fn re_encrypt(&self, place: &Place<'_>, envelope: &Envelope<'_>) -> Result<Option<Wrapped>, Error> {
        match &self.0.current {
            Provider::Tencent(tencent) if self.0.current.has(&envelope.key) => tencent
                .re_encrypt(place, &envelope.key, envelope.wrapped)
                .await
                .map(Some),
            Provider::Tencent(_) | Provider::Local(_) => Ok(None),
        }
    }

    /// Puts an envelope together with another wrapping, and opens it: it will replace the only copy there is.
    async fn with(&self, place: &Place<'_>, old: &Envelope<'_>, wrapped: &Wrapped) -> Result<Vec<u8>, Error> {
        let mut bytes = envelope::head(&wrapped.key, &wrapped.bytes, &old.nonce, old.body.len());
        bytes.extend(old.body);
        drop(self.open(*place, &bytes).await?);
        Ok(bytes)
    }

    async fn data_key(&self, place: &Place<'_>, envelope: &Envelope<'_>) -> Result<DataKey, Error> {
        let Inner { current, others } = &*self.0;
        let holder = std::iter::once(current)
            .chain(others)
            .find(|provider| provider.has(&envelope.key));
        let holder = holder.ok_or_else(|| Error::NoKey(envelope.key.clone()))?;
        holder.unwrap(place, &envelope.key, envelope.wrapped).await
    }
}

fn read(sealed: &[u8]) -> Result<Envelope<'_>, Error> {
    envelope::read(sealed).ok_or(Error::Damaged)
}
