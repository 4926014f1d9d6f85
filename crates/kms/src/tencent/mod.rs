//! Master keys in Tencent Cloud's key management service, API version 2019-01-18.
//!
//! Data keys are made by `GenerateDataKey` and unwrapped by `Decrypt`; `ReEncrypt` changes the master key, `Encrypt` wraps
//! what a key file wrapped before. The encryption context of each call is a hash of the place and the master key's id, so
//! that the service itself refuses to unwrap a data key for another place; it is a hash because contexts are kept in audit
//! logs and may have 1,024 characters only.
//!
//! Source: Tencent Cloud, "Key Management Service" (<https://www.tencentcloud.com/document/product/1030>).

mod api;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tencent_cloud::Client;
use zeroize::Zeroizing;

use self::api::{Answer, Api, Decrypt, Encrypt, GenerateDataKey, ReEncrypt};
use crate::aad::{Place, fingerprint};
use crate::cache::Cache;
use crate::config::ConfigError;
use crate::data_key::DataKey;
use crate::envelope::MAX_WRAPPED;
use crate::error::{Error, Unavailable};
use crate::key_id::{KeyId, Kind, is_name};
use crate::provider::Wrapped;

pub use api::Patience;

/// A master key of the service, and the others that it may still open with. Cheap to clone.
#[derive(Clone)]
pub struct Tencent(Arc<Inner>);

struct Inner {
    api: Api,
    key: KeyId,
    cache: Cache,
}

impl fmt::Debug for Tencent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tencent")
            .field("key", &self.0.key.name)
            .field("client", &self.0.api.client)
            .finish_non_exhaustive()
    }
}

impl Tencent {
    /// Makes a provider whose current key is the master key `key_id`.
    ///
    /// `client` is one of the service `kms`, version 2019-01-18; its timeout is that of one call.
    ///
    /// # Errors
    /// The id is none: envelopes could not name it.
    pub fn new(client: Client, key_id: String, patience: Patience) -> Result<Self, ConfigError> {
        if !is_name(key_id.as_bytes()) {
            return Err(ConfigError::KeyId);
        }
        Ok(Self(Arc::new(Inner {
            api: Api::new(client, patience),
            key: named(key_id),
            cache: Cache::new(patience.remembered, patience.remembered_for),
        })))
    }

    /// Returns the key that wraps.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.0.key.clone()
    }

    pub(crate) async fn generate(&self, place: &Place<'_>) -> Result<(DataKey, Wrapped), Error> {
        let wrapping = place.wrapping(&self.0.key);
        let request = GenerateDataKey {
            key_id: &self.0.key.name,
            key_spec: "AES_256",
            encryption_context: &context(&wrapping),
        };
        let answer = self.0.api.call("GenerateDataKey", &request).await?;
        let key = data_key(&answer)?;
        let wrapped = self.wrapped(answer)?;
        self.0
            .cache
            .put(fingerprint(&wrapping, &wrapped.bytes), key.clone());
        Ok((key, wrapped))
    }

    pub(crate) async fn wrap(&self, place: &Place<'_>, key: &DataKey) -> Result<Wrapped, Error> {
        let request = Encrypt {
            key_id: &self.0.key.name,
            plaintext: Zeroizing::new(STANDARD.encode(key.bytes())),
            encryption_context: &context(&place.wrapping(&self.0.key)),
        };
        let answer = self.0.api.call("Encrypt", &request).await?;
        self.wrapped(answer)
    }

    pub(crate) async fn unwrap(
        &self,
        place: &Place<'_>,
        by: &KeyId,
        wrapped: &[u8],
    ) -> Result<DataKey, Error> {
        let wrapping = place.wrapping(by);
        let fingerprint = fingerprint(&wrapping, wrapped);
        if let Some(key) = self.0.cache.get(&fingerprint) {
            return Ok(key);
        }
        let request = Decrypt {
            ciphertext_blob: str::from_utf8(wrapped).map_err(|_| Error::Damaged)?,
            encryption_context: &context(&wrapping),
        };
        let answer = self.0.api.call("Decrypt", &request).await?;
        // The envelope names the key, and the service knows it: they must agree.
        if answer.key_id != by.name {
            return Err(Error::Damaged);
        }
        let key = data_key(&answer)?;
        self.0.cache.put(fingerprint, key.clone());
        Ok(key)
    }

    /// Wraps under the current key what another master key, or older material of the same, has wrapped.
    pub(crate) async fn re_encrypt(
        &self,
        place: &Place<'_>,
        by: &KeyId,
        wrapped: &[u8],
    ) -> Result<Wrapped, Error> {
        let request = ReEncrypt {
            ciphertext_blob: str::from_utf8(wrapped).map_err(|_| Error::Damaged)?,
            destination_key_id: &self.0.key.name,
            source_encryption_context: &context(&place.wrapping(by)),
            destination_encryption_context: &context(&place.wrapping(&self.0.key)),
        };
        let answer = self.0.api.call("ReEncrypt", &request).await?;
        self.wrapped(answer)
    }

    /// Takes a wrapped key from an answer. Its text is no base64 and is kept as it is.
    fn wrapped(&self, answer: Answer) -> Result<Wrapped, Error> {
        let bytes = answer.ciphertext_blob.into_bytes();
        if answer.key_id != self.0.key.name || !(1..=MAX_WRAPPED).contains(&bytes.len()) {
            return Err(nonsense());
        }
        Ok(Wrapped {
            key: self.0.key.clone(),
            bytes,
        })
    }
}

fn data_key(answer: &Answer) -> Result<DataKey, Error> {
    let bytes = STANDARD.decode(answer.plaintext.as_bytes()).map(Zeroizing::new);
    bytes
        .ok()
        .and_then(|bytes| DataKey::read(&bytes))
        .ok_or_else(nonsense)
}

/// An answer that is signed for and makes no sense. Something between us and the service is broken.
fn nonsense() -> Error {
    Error::Unavailable(Unavailable::Call {
        attempts: 1,
        last: tencent_cloud::Doubt::Malformed.into(),
    })
}

fn context(wrapping: &[u8]) -> String {
    let hash = digest(&SHA256, wrapping);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r#"{{"evenkeel":"{hash}"}}"#)
}

fn named(key_id: String) -> KeyId {
    KeyId {
        kind: Kind::Tencent,
        name: key_id,
        version: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this changes, what the service has wrapped does not open any more. Computed by another implementation.
    #[test]
    fn the_context_of_a_field_stays_what_it_is() {
        let place = Place {
            table: "task.provider",
            column: "api_key",
            row: "provider_1",
        };
        assert_eq!(
            context(&place.wrapping(&named("23e80852-1e38-11e9-b129-5cb9019b4b01".to_owned()))),
            r#"{"evenkeel":"8266cde382c4a6f368ab2618d1164b6a5e7e8465f32f0b113a5081669584b0cd"}"#
        );
    }

    #[test]
    fn a_context_fits_and_names_nothing() {
        let row = "r".repeat(1_024);
        let place = Place {
            table: "task.provider",
            column: "api_key",
            row: &row,
        };
        let context = context(&place.wrapping(&named("k".repeat(64))));
        assert!(context.len() < 100 && !context.contains("provider"), "{context}");
    }
}
