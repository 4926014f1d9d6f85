//! Master keys, and what they encrypt. Their material never leaves this file.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What stands between the parts of a ciphertext. The service's ciphertexts look like this: text, but not base64.
const SEPARATOR: &str = "-k-";

pub(super) const NOT_FOUND: &str = "ResourceUnavailable.CmkNotFound";
const DISABLED: &str = "ResourceUnavailable.CmkDisabled";
const FORMAT: &str = "InvalidParameterValue.InvalidCiphertext";
const WRONG: &str = "FailedOperation.DecryptError";

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Keys(BTreeMap<String, MasterKey>);

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MasterKey {
    enabled: bool,
    /// The last one encrypts, all decrypt.
    versions: Vec<Material>,
}

/// Material of a master key, in base64 where it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Material([u8; 32]);

impl Material {
    fn make() -> Self {
        Self(random())
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).expect("a key of 32 bytes"))
    }
}

impl From<Material> for String {
    fn from(material: Material) -> Self {
        STANDARD.encode(material.0)
    }
}

impl TryFrom<String> for Material {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).ok();
        let material = bytes.and_then(|bytes| bytes.try_into().ok());
        material.map(Self).ok_or("want 32 bytes in base64")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("enabled", &self.enabled)
            .field("versions", &self.versions.len())
            .finish()
    }
}

/// What a ciphertext was made of.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) key_id: String,
    pub(super) plain: Vec<u8>,
    /// Whether its material is that which encrypts today.
    pub(super) fresh: bool,
}

impl Keys {
    pub(super) fn create(&mut self) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let key = MasterKey {
            enabled: true,
            versions: vec![Material::make()],
        };
        self.0.insert(id.clone(), key);
        id
    }

    pub(super) fn rotate(&mut self, id: &str) -> bool {
        self.0
            .get_mut(id)
            .map(|key| key.versions.push(Material::make()))
            .is_some()
    }

    pub(super) fn set_enabled(&mut self, id: &str, enabled: bool) -> bool {
        self.0.get_mut(id).map(|key| key.enabled = enabled).is_some()
    }

    /// Returns whether a key is enabled; `None` if there is none.
    pub(super) fn state(&self, id: &str) -> Option<bool> {
        self.0.get(id).map(|key| key.enabled)
    }

    pub(super) fn encrypt(&self, id: &str, plain: &[u8], context: &str) -> Result<String, &'static str> {
        let key = self.usable(id)?;
        // Without material there is no key: such a one is not made, but could be read from a file.
        let version = key.versions.len().checked_sub(1).ok_or("InternalError")?;
        let nonce: [u8; NONCE_LEN] = random();
        let mut body = plain.to_vec();
        key.versions[version]
            .cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
            .map_err(|_| "InternalError")?;
        let head = format!("{version}/{id}");
        Ok([head.as_bytes(), &nonce, &body]
            .map(|part| STANDARD.encode(part))
            .join(SEPARATOR))
    }

    pub(super) fn decrypt(&self, blob: &str, context: &str) -> Result<Opened, &'static str> {
        let (head, nonce, mut body) = parts(blob).ok_or(FORMAT)?;
        let (version, id) = head.split_once('/').ok_or(FORMAT)?;
        let version: usize = version.parse().map_err(|_| FORMAT)?;
        let key = self.usable(id)?;
        let material = key.versions.get(version).ok_or(FORMAT)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| FORMAT)?;
        let plain = material
            .cipher()
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| WRONG)?;
        Ok(Opened {
            key_id: id.to_owned(),
            plain: plain.to_vec(),
            fresh: version + 1 == key.versions.len(),
        })
    }

    fn usable(&self, id: &str) -> Result<&MasterKey, &'static str> {
        let key = self.0.get(id).ok_or(NOT_FOUND)?;
        if key.enabled { Ok(key) } else { Err(DISABLED) }
    }
}

fn parts(blob: &str) -> Option<(String, Vec<u8>, Vec<u8>)> {
    let mut parts = blob.split(SEPARATOR).map(|part| STANDARD.decode(part).ok());
    let head = String::from_utf8(parts.next()??).ok()?;
    let read = (head, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(read)
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_key_opens_what_it_encrypted_before() {
        let mut keys = Keys::default();
        let id = keys.create();
        let blob = keys.encrypt(&id, b"x", "{}").unwrap();
        assert!(keys.decrypt(&blob, "{}").unwrap().fresh);
        assert!(keys.rotate(&id));
        let opened = keys.decrypt(&blob, "{}").unwrap();
        assert_eq!((opened.plain.as_slice(), opened.fresh), (&b"x"[..], false));
        assert_eq!(keys.decrypt(&blob, "").unwrap_err(), WRONG);
        assert_eq!(keys.decrypt("eA==", "").unwrap_err(), FORMAT);
        assert!(keys.set_enabled(&id, false));
        assert_eq!(keys.decrypt(&blob, "{}").unwrap_err(), DISABLED);
    }
}
