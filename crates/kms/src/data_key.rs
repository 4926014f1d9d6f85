//! The key of one field.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::aad::Place;
use crate::envelope::{Envelope, NONCE, TAG, head};
use crate::error::Error;
use crate::key_id::KeyId;

/// Bytes of every key.
pub(crate) const KEY: usize = 32;

/// A data key. Its clones are one key in one place of memory, which is zeroised with the last of them.
#[derive(Clone)]
pub(crate) struct DataKey(Arc<Zeroizing<[u8; KEY]>>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; KEY]);
        fill(key.as_mut())?;
        Ok(Self(Arc::new(key)))
    }

    /// Takes the key from bytes; `None` if they are not 32.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let key: &[u8; KEY] = bytes.try_into().ok()?;
        Some(Self(Arc::new(Zeroizing::new(*key))))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Counts who has this key.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Seals a content and returns the whole envelope. The nonce is random though a data key seals once: a second use by
    /// mistake would otherwise give the content away.
    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        key: &KeyId,
        wrapped: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        // Room for everything from the start: growing would leave a copy of the plaintext behind.
        let mut bytes = head(key, wrapped, &nonce, plain.len() + TAG);
        let start = bytes.len();
        bytes.extend(plain);
        let aad = Aad::from(place.content());
        let tag = cipher(self.bytes())
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes[start..])
            .map_err(|_| Error::TooLarge)?;
        bytes.extend(tag.as_ref());
        Ok(bytes)
    }

    /// Opens the content of an envelope.
    pub(crate) fn open(
        &self,
        place: &Place<'_>,
        envelope: &Envelope<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        open(self.bytes(), envelope.nonce, place.content(), envelope.body)
    }
}

/// Decrypts bytes that end with their tag.
pub(crate) fn open(
    key: &[u8; KEY],
    nonce: [u8; NONCE],
    aad: Vec<u8>,
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut plain = Zeroizing::new(body.to_vec());
    let length = cipher(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut plain)
        .map_err(|_| Error::Damaged)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

/// The library clears its copy of the key when it drops it.
pub(crate) fn cipher(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes"))
}

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::Random)
}
