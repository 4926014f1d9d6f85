//! Master keys in Tencent Cloud's key management service, API version 2019-01-18.
//!
//! Data keys are made by `GenerateDataKey` and unwrapped by `Decrypt`; `ReEncrypt` changes the master key, `Encrypt` wraps
//! what a key file wrapped before. The encryption context of each call is a hash of the place and the master key's id, so
//! that the service itself refuses to unwrap a data key for another place; it is a hash because contexts are kept in audit
//! logs and may have 1,024 characters only.
//!
//! Source: Tencent Cloud, "Key Management Service" (<https://www.tencentcloud.com/document/product/1030>).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tencent_cloud::{Client, Failure};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::aad::{Place, fingerprint};
use crate::cache::Cache;
use crate::data_key::DataKey;
use crate::envelope::MAX_WRAPPED;
use crate::error::{Error, Unavailable};
use crate::key_id::{KeyId, Kind};
use crate::provider::Wrapped;

/// How long the key service is waited for, and what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For an operation, with its repetitions and its wait for a turn.
    pub operation: Duration,
    /// Calls of an operation, the first included. Every action may be repeated: none changes anything in the service.
    pub calls: u32,
    /// Longest pause before the first repetition; twice as long before each further one.
    pub pause: Duration,
    /// Calls in flight at once; the others wait for their turn.
    pub at_once: usize,
    /// Unwrapped data keys that are remembered: about 150 bytes each.
    pub remembered: usize,
    /// How long they are remembered, from when they were unwrapped. So long does what was read shortly before still open
    /// when the service is away, or when the master key was disabled.
    pub remembered_for: Duration,
}

impl Default for Patience {
    /// 5 s, 3 calls, 100 ms, 32 at once, 10,000 keys for 5 minutes.
    fn default() -> Self {
        Self {
            operation: Duration::from_secs(5),
            calls: 3,
            pause: Duration::from_millis(100),
            at_once: 32,
            remembered: 10_000,
            remembered_for: Duration::from_secs(5 * 60),
        }
    }
}

/// A master key of the service, and the others that it may still open with. Cheap to clone.
#[derive(Clone)]
pub struct Tencent(Arc<Inner>);

struct Inner {
    client: Client,
    key: KeyId,
    patience: Patience,
    turns: Semaphore,
    cache: Cache,
}

impl fmt::Debug for Tencent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tencent")
            .field("key", &self.0.key.name)
            .field("client", &self.0.client)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateDataKey<'a> {
    key_id: &'a str,
    key_spec: &'static str,
    encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt<'a> {
    key_id: &'a str,
    plaintext: Zeroizing<String>,
    encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt<'a> {
    ciphertext_blob: &'a str,
    encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReEncrypt<'a> {
    ciphertext_blob: &'a str,
    destination_key_id: &'a str,
    source_encryption_context: &'a str,
    destination_encryption_context: &'a str,
}

/// What all of these answer; each has some of the fields.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    key_id: String,
    #[serde(default)]
    plaintext: Zeroizing<String>,
    #[serde(default)]
    ciphertext_blob: String,
}

impl Tencent {
    /// Makes a provider whose current key is the master key `key_id`.
    ///
    /// `client` is one of the service `kms`, version 2019-01-18; its timeout is that of one call.
    #[must_use]
    pub fn new(client: Client, key_id: String, patience: Patience) -> Self {
        Self(Arc::new(Inner {
            client,
            key: named(key_id),
            patience,
            turns: Semaphore::new(patience.at_once),
            cache: Cache::new(patience.remembered, patience.remembered_for),
        }))
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
        let answer = self.call("GenerateDataKey", &request).await?;
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
        let answer = self.call("Encrypt", &request).await?;
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
        let answer = self.call("Decrypt", &request).await?;
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
        let answer = self.call("ReEncrypt", &request).await?;
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

    /// Calls an action, again if that may help, within the time of an operation.
    async fn call(&self, action: &'static str, request: &impl Serialize) -> Result<Answer, Error> {
        let limit = self.0.patience.operation;
        let late = |_| Error::Unavailable(Unavailable::Late(limit));
        let outcome = tokio::time::timeout(limit, self.repeat(action, request)).await;
        let outcome = outcome.map_err(late).flatten();
        if let Err(Error::Unavailable(cause)) = &outcome {
            tracing::debug!(action, %cause, "the key service is not available");
        }
        outcome
    }

    async fn repeat(&self, action: &str, request: &impl Serialize) -> Result<Answer, Error> {
        let Patience { calls, pause, .. } = self.0.patience;
        let mut attempts = 0;
        loop {
            attempts += 1;
            // A turn for each call: who pauses does not keep others waiting.
            let turn = self.0.turns.acquire().await;
            let outcome = self.0.client.call(action, request).await;
            drop(turn);
            let last = match outcome {
                Ok(answer) => return Ok(answer),
                Err(last) => last,
            };
            match verdict(&last) {
                Verdict::Away if attempts >= calls => {
                    return Err(Error::Unavailable(Unavailable::Call { attempts, last }));
                }
                Verdict::Away => {}
                Verdict::Damaged => return Err(Error::Damaged),
                Verdict::Refused(code) => return Err(Error::Refused(code)),
            }
            let longest = pause.saturating_mul(2_u32.saturating_pow(attempts - 1));
            // Drawn before the pause: the generator may not be held across it.
            let share: f64 = rand::rng().random();
            tokio::time::sleep(longest.mul_f64(share)).await;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Away,
    Damaged,
    Refused(String),
}

/// Says what a failure means.
///
/// Source: Tencent Cloud, "Error Codes" of the service and of API 3.0.
fn verdict(failure: &Failure) -> Verdict {
    let code = match failure {
        Failure::Unknown(_) => return Verdict::Away,
        Failure::Refused(code) => code.as_str(),
    };
    match code {
        "FailedOperation.DecryptError" | "InvalidParameterValue.InvalidCiphertext" => Verdict::Damaged,
        "FailedOperation" | "UnsupportedOperation.ServiceTemporaryUnavailable" => Verdict::Away,
        busy if busy.starts_with("RequestLimitExceeded") => Verdict::Away,
        other => Verdict::Refused(other.to_owned()),
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
    use tencent_cloud::Doubt;

    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let refused = |code: &str| verdict(&Failure::Refused(code.to_owned()));
        for away in [
            "RequestLimitExceeded",
            "RequestLimitExceeded.UinLimitExceeded",
            "UnsupportedOperation.ServiceTemporaryUnavailable",
        ] {
            assert_eq!(refused(away), Verdict::Away, "{away}");
        }
        assert_eq!(verdict(&Failure::Unknown(Doubt::Status(502))), Verdict::Away);
        assert_eq!(refused("FailedOperation.DecryptError"), Verdict::Damaged);
        for code in [
            "ResourceUnavailable.CmkDisabled",
            "AuthFailure.SignatureExpire",
            "UnauthorizedOperation",
        ] {
            assert_eq!(refused(code), Verdict::Refused(code.to_owned()));
        }
    }

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
