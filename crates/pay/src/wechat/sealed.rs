//! What WeChat encrypts with the merchant's APIv3 key: AES-256-GCM.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::keys::read;

const ALGORITHM: &str = "AEAD_AES_256_GCM";
const KEY_BYTES: usize = 32;

/// The merchant's APIv3 key: 32 bytes. Wiped when it is dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct ApiV3Key(Zeroizing<[u8; KEY_BYTES]>);

impl ApiV3Key {
    /// Takes a key as the merchant's console has it: 32 characters of ASCII.
    ///
    /// # Errors
    /// [`KeyError::Length`] if there are not 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != KEY_BYTES {
            return Err(KeyError::Length);
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// Reads a key from a file; white space around it does not count.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Self::new(read(path)?.trim_ascii())
    }
}

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiV3Key")
    }
}

/// Something encrypted, as it stands in JSON.
#[derive(Debug, Deserialize)]
pub(super) struct Sealed {
    algorithm: String,
    ciphertext: String,
    #[serde(default)]
    associated_data: String,
    nonce: String,
}

impl Sealed {
    /// Decrypts. `None` if it is not what was encrypted with this key.
    pub(super) fn open(&self, key: &ApiV3Key) -> Option<Zeroizing<Vec<u8>>> {
        if self.algorithm != ALGORITHM {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(self.nonce.as_bytes()).ok()?;
        let mut text = Zeroizing::new(STANDARD.decode(&self.ciphertext).ok()?);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.0.as_slice()).ok()?);
        let aad = Aad::from(self.associated_data.as_bytes());
        let length = key.open_in_place(nonce, aad, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8; 32] = b"a key of thirty-two characters..";

    fn seal(text: &[u8], nonce: &[u8; 12], aad: &str) -> Sealed {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, KEY).unwrap());
        let mut bytes = text.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad.as_bytes()),
            &mut bytes,
        )
        .unwrap();
        Sealed {
            algorithm: ALGORITHM.to_owned(),
            ciphertext: STANDARD.encode(bytes),
            associated_data: aad.to_owned(),
            nonce: String::from_utf8(nonce.to_vec()).unwrap(),
        }
    }

    #[test]
    fn a_key_has_32_bytes_and_is_not_shown() {
        assert!(ApiV3Key::new(&KEY[1..]).is_err());
        assert_eq!(format!("{:?}", ApiV3Key::new(KEY).unwrap()), "ApiV3Key");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let key = ApiV3Key::new(KEY).unwrap();
        let good = || seal(b"text", b"123456789012", "data");
        assert_eq!(good().open(&key).unwrap().as_slice(), b"text");
        let mut other = good();
        other.associated_data.push('x');
        assert!(other.open(&key).is_none());
        let mut other = good();
        other.nonce.replace_range(0..1, "x");
        assert!(other.open(&key).is_none());
        let mut other = good();
        other.nonce.pop();
        assert!(other.open(&key).is_none());
        let mut other = good();
        other.algorithm = "NONE".to_owned();
        assert!(other.open(&key).is_none());
        assert!(good().open(&ApiV3Key::new(&[7; 32]).unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(ciphertext in "[A-Za-z0-9+/=]{0,60}|.{0,20}", nonce in ".{0,16}", aad in ".{0,9}") {
            let sealed = Sealed { algorithm: ALGORITHM.to_owned(), ciphertext, associated_data: aad, nonce };
            prop_assert!(sealed.open(&ApiV3Key::new(KEY).unwrap()).is_none());
        }
    }
}
