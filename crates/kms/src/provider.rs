//! Who wraps data keys.

use crate::aad::Place;
use crate::data_key::DataKey;
use crate::error::Error;
use crate::key_id::{KeyId, Kind};
use crate::local::LocalKeys;
use crate::tencent::Tencent;

/// A holder of key-encryption keys. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A key file.
    Local(LocalKeys),
    /// Tencent Cloud's key management service.
    Tencent(Tencent),
}

/// A wrapped data key, and by which key.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) key: KeyId,
    pub(crate) bytes: Vec<u8>,
}

impl Provider {
    /// Returns the key that wraps.
    #[must_use]
    pub fn current(&self) -> KeyId {
        match self {
            Self::Local(local) => local.current(),
            Self::Tencent(tencent) => tencent.current(),
        }
    }

    /// Says whether it may have a key. The key service alone knows all of its keys.
    pub(crate) fn has(&self, key: &KeyId) -> bool {
        match self {
            Self::Local(local) => local.has(key),
            Self::Tencent(_) => key.kind == Kind::Tencent,
        }
    }

    /// Makes a data key for a place.
    pub(crate) async fn generate(&self, place: &Place<'_>) -> Result<(DataKey, Wrapped), Error> {
        match self {
            Self::Local(local) => {
                let key = DataKey::random()?;
                let wrapped = local.wrap(place, &key)?;
                Ok((key, wrapped))
            }
            Self::Tencent(tencent) => tencent.generate(place).await,
        }
    }

    /// Wraps a data key that another key has wrapped before.
    pub(crate) async fn wrap(&self, place: &Place<'_>, key: &DataKey) -> Result<Wrapped, Error> {
        match self {
            Self::Local(local) => local.wrap(place, key),
            Self::Tencent(tencent) => tencent.wrap(place, key).await,
        }
    }

    /// Unwraps a data key.
    pub(crate) async fn unwrap(
        &self,
        place: &Place<'_>,
        by: &KeyId,
        wrapped: &[u8],
    ) -> Result<DataKey, Error> {
        match self {
            Self::Local(local) => local.unwrap(place, by, wrapped),
            Self::Tencent(tencent) => tencent.unwrap(place, by, wrapped).await,
        }
    }
}
