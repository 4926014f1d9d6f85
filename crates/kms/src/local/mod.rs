//! Key-encryption keys in a file.

mod file;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use aws_lc_rs::aead::{Aad, Nonce};

use crate::aad::Place;
use crate::data_key::{self, DataKey, KEY, cipher, fill};
use crate::envelope::{NONCE, TAG};
use crate::error::Error;
use crate::key_id::{KeyId, Kind};
use crate::provider::Wrapped;

pub use file::FileError;
pub use write::{Change, Outcome, change_file, create_file};

/// Bytes of a data key that is wrapped here: nonce, ciphertext, tag.
const WRAPPED: usize = NONCE + KEY + TAG;

/// The keys of a key file. Cheap to clone.
#[derive(Clone)]
pub struct LocalKeys(Arc<Keys>);

struct Keys {
    name: String,
    current: u32,
    versions: BTreeMap<u32, Zeroizing<[u8; KEY]>>,
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.0.versions.keys().collect();
        f.debug_struct("LocalKeys")
            .field("name", &self.0.name)
            .field("current", &self.0.current)
            .field("versions", &versions)
            .finish()
    }
}

impl LocalKeys {
    /// Reads a key file. A change of the file is seen by whoever reads it anew.
    ///
    /// # Errors
    /// It cannot be read, may be read by others than its owner, or is no key file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        file::read(path).map(|keys| Self(Arc::new(keys)))
    }

    /// Returns the key that wraps.
    #[must_use]
    pub fn current(&self) -> KeyId {
        KeyId {
            kind: Kind::Local,
            name: self.0.name.clone(),
            version: self.0.current,
        }
    }

    /// Returns the versions that open, lowest first.
    #[must_use]
    pub fn versions(&self) -> Vec<u32> {
        self.0.versions.keys().copied().collect()
    }

    pub(crate) fn has(&self, key: &KeyId) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &KeyId) -> Option<&[u8; KEY]> {
        let ours = key.kind == Kind::Local && key.name == self.0.name;
        ours.then(|| self.0.versions.get(&key.version))?.map(|key| &**key)
    }

    /// Wraps a data key. Nonces are random: 2^32 fields for a version are safe (NIST SP 800-38D, 8.3).
    pub(crate) fn wrap(&self, place: &Place<'_>, key: &DataKey) -> Result<Wrapped, Error> {
        let by = self.current();
        let with = self.find(&by).ok_or_else(|| Error::NoKey(by.clone()))?;
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        let mut body = Zeroizing::new(*key.bytes());
        let tag = cipher(with)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.wrapping(&by)),
                body.as_mut(),
            )
            .map_err(|_| Error::TooLarge)?;
        Ok(Wrapped {
            bytes: [&nonce[..], body.as_ref(), tag.as_ref()].concat(),
            key: by,
        })
    }

    pub(crate) fn unwrap(&self, place: &Place<'_>, by: &KeyId, wrapped: &[u8]) -> Result<DataKey, Error> {
        let with = self.find(by).ok_or_else(|| Error::NoKey(by.clone()))?;
        let (nonce, body) = wrapped.split_first_chunk().ok_or(Error::Damaged)?;
        if wrapped.len() != WRAPPED {
            return Err(Error::Damaged);
        }
        let key = data_key::open(with, *nonce, place.wrapping(by), body)?;
        DataKey::read(&key).ok_or(Error::Damaged)
    }
}
