//! The keys that WeChat signs with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Inner;
use super::sealed::{ApiV3Key, Sealed};
use super::sign::Signature;
use crate::http::Reply;
use crate::keys::blocks;
use crate::{ConfigError, NotifyError, PublicKey};

/// Most certificates that are held; WeChat has two while it rotates.
const MAX_CERTIFICATES: usize = 16;
/// Certificates are fetched again after this time; WeChat asks for less than 12 hours.
const MAX_AGE: TimeDelta = TimeDelta::hours(10);
/// Certificates are fetched at most this often, whoever names unknown ones.
const MIN_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// After a failure they are fetched again sooner.
const FAILURE_PAUSE: TimeDelta = TimeDelta::seconds(5);

/// What WeChat signs with, as the merchant's console shows it.
#[derive(Debug, Clone)]
pub enum Trust {
    /// WeChat's public key and its id, `PUB_KEY_ID_…`.
    PublicKey {
        /// The id.
        id: String,
        /// The key.
        key: PublicKey,
    },
    /// Platform certificates. They are fetched, decrypted with the APIv3 key, and rotated.
    Certificates,
}

/// The keys at hand.
#[derive(Debug)]
pub(super) struct Platform {
    fixed: Option<(String, PublicKey)>,
    held: Mutex<Held>,
    /// Held while certificates are fetched, so that one does for all who wait: until when nobody tries again.
    fetching: tokio::sync::Mutex<Option<Pause>>,
}

#[derive(Debug)]
struct Pause {
    since: DateTime<Utc>,
    length: TimeDelta,
}

impl Pause {
    /// A clock that was set back ends a pause, too.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now.signed_duration_since(self.since).abs() >= self.length
    }
}

#[derive(Debug, Default)]
struct Held {
    fetched_at: Option<DateTime<Utc>>,
    by_serial: HashMap<String, Certificate>,
}

#[derive(Debug, Clone)]
struct Certificate {
    key: PublicKey,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

impl Certificate {
    fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl Platform {
    pub(super) fn new(trust: &Trust) -> Result<Self, ConfigError> {
        let fixed = match trust {
            Trust::PublicKey { id, key } => {
                // It goes into a header.
                if !id.starts_with("PUB_KEY_ID_")
                    || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                {
                    return Err(ConfigError::Value("the id of WeChat's public key"));
                }
                Some((id.clone(), key.clone()))
            }
            Trust::Certificates => None,
        };
        Ok(Self {
            fixed,
            held: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the id that tells WeChat which key to sign with.
    pub(super) fn id(&self) -> Option<&str> {
        self.fixed.as_ref().map(|(id, _)| id.as_str())
    }

    /// Returns a certificate's key, if it is valid; and whether the certificates are due to be fetched again.
    fn held(&self, serial: &str, now: DateTime<Utc>) -> (Option<PublicKey>, bool) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = held.by_serial.get(serial).filter(|found| found.is_valid(now));
        let due = held
            .fetched_at
            .is_none_or(|at| now.signed_duration_since(at).abs() > MAX_AGE);
        (certificate.map(|found| found.key.clone()), due)
    }

    fn hold(&self, certificates: HashMap<String, Certificate>, now: DateTime<Utc>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.by_serial = certificates;
        held.fetched_at = Some(now);
    }
}

impl Inner {
    /// Checks the signature of an answer or a notification.
    pub(super) async fn verify(&self, headers: &http::HeaderMap, body: &[u8]) -> Result<(), NotifyError> {
        let signature = Signature::read(headers, self.clock.now())?;
        let key = self.platform_key(signature.serial).await?;
        if signature.holds(&key, body) {
            Ok(())
        } else {
            Err(NotifyError::Signature)
        }
    }

    async fn platform_key(&self, serial: &str) -> Result<PublicKey, NotifyError> {
        let unknown = || NotifyError::UnknownKey(crate::outcome::clip(serial));
        if let Some((id, key)) = &self.platform.fixed {
            return if id == serial {
                Ok(key.clone())
            } else {
                Err(unknown())
            };
        }
        let mut pause = match self.platform.held(serial, self.clock.now()) {
            (Some(key), false) => return Ok(key),
            // Whoever has a good key does not wait for newer ones.
            (Some(key), true) => match self.platform.fetching.try_lock() {
                Ok(pause) => pause,
                Err(_) => return Ok(key),
            },
            (None, _) => self.platform.fetching.lock().await,
        };
        let now = self.clock.now();
        let may_try = pause.as_ref().is_none_or(|pause| pause.is_over(now));
        let (held, due) = self.platform.held(serial, now);
        // Somebody else may have fetched while we waited.
        if may_try && (held.is_none() || due) {
            // Before it is tried: whoever waits for it may give up.
            *pause = Some(Pause {
                since: now,
                length: FAILURE_PAUSE,
            });
            match self.fetch_certificates().await {
                Ok(certificates) => {
                    self.platform.hold(certificates, now);
                    *pause = Some(Pause {
                        since: now,
                        length: MIN_PAUSE,
                    });
                }
                Err(why) => tracing::warn!(why, "WeChat's certificates could not be fetched"),
            }
        }
        match self.platform.held(serial, now) {
            (Some(key), _) => Ok(key),
            (None, false) => Err(unknown()),
            (None, true) => Err(NotifyError::KeyUnavailable(crate::outcome::clip(serial))),
        }
    }

    /// Fetches the certificates. That they could be decrypted proves where they come from; the answer's signature, by
    /// one of them, that it is not an old one.
    async fn fetch_certificates(&self) -> Result<HashMap<String, Certificate>, String> {
        let request = self.signed(http::Method::GET, "/v3/certificates", "");
        let Reply {
            status,
            headers,
            body,
        } = self.http.call(request).await.map_err(|doubt| doubt.to_string())?;
        if status != http::StatusCode::OK {
            return Err(format!("HTTP {}", status.as_u16()));
        }
        let certificates = read_certificates(&body, &self.config.api_v3_key)?;
        let now = self.clock.now();
        let signature = Signature::read(&headers, now).map_err(|why| why.to_string())?;
        let signer = certificates
            .get(signature.serial)
            .filter(|signer| signer.is_valid(now))
            .ok_or("the answer is signed with a certificate that is not in it")?;
        if !signature.holds(&signer.key, &body) {
            return Err("the signature of the answer is wrong".to_owned());
        }
        Ok(certificates)
    }
}

#[derive(Debug, Deserialize)]
struct Listed {
    serial_no: String,
    encrypt_certificate: Sealed,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Vec<Listed>,
}

fn read_certificates(body: &[u8], key: &ApiV3Key) -> Result<HashMap<String, Certificate>, String> {
    let list: List = serde_json::from_slice(body).map_err(|_| "the answer is not a list of certificates")?;
    if list.data.len() > MAX_CERTIFICATES {
        return Err(format!("more than {MAX_CERTIFICATES} certificates"));
    }
    let mut certificates = HashMap::new();
    for listed in list.data {
        let pem = listed
            .encrypt_certificate
            .open(key)
            .ok_or("a certificate cannot be decrypted")?;
        let certificate = read_certificate(&pem, &listed.serial_no).ok_or("a certificate cannot be read")?;
        certificates.insert(listed.serial_no, certificate);
    }
    Ok(certificates)
}

fn read_certificate(pem: &[u8], serial: &str) -> Option<Certificate> {
    let der = blocks(pem).ok()?.into_iter().next()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let written: String = certificate
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let same = written.trim_start_matches('0') == serial.to_ascii_uppercase().trim_start_matches('0');
    let validity = certificate.validity();
    let time = |at: i64| DateTime::from_timestamp(at, 0);
    same.then_some(Certificate {
        key: PublicKey::from_spki(certificate.public_key().raw).ok()?,
        not_before: time(validity.not_before.timestamp())?,
        not_after: time(validity.not_after.timestamp())?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// WeChat's own samples, where the checkout has them beside it.
    fn vectors() -> Option<Value> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/wechatpay/v3_vectors.json");
        Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap())
    }

    #[test]
    fn the_published_list_of_certificates_is_read() {
        let Some(vectors) = vectors() else { return };
        let case = &vectors["aead_256"][1];
        let key = ApiV3Key::new(case["key"].as_str().unwrap().as_bytes()).unwrap();
        let body = case["response_body"].as_str().unwrap();
        let certificates = read_certificates(body.as_bytes(), &key).unwrap();
        let found = &certificates[case["expect_serial"].as_str().unwrap()];
        assert_eq!(found.not_after.to_rfc3339(), "2028-09-17T15:15:58+00:00");
        let other = ApiV3Key::new(&[1; 32]).unwrap();
        assert!(read_certificates(body.as_bytes(), &other).is_err());
        let renamed = body.replace("5DEA10EF", "5DEA10EE");
        assert!(read_certificates(renamed.as_bytes(), &key).is_err());
    }

    #[test]
    fn the_published_sealed_text_opens() {
        let Some(vectors) = vectors() else { return };
        let case = &vectors["aead_256"][0];
        let text = |name: &str| case[name].as_str().unwrap();
        let key = ApiV3Key::new(text("key").as_bytes()).unwrap();
        let open = |aad: &str, nonce: &str| {
            let sealed = serde_json::json!({
                "algorithm": "AEAD_AES_256_GCM", "associated_data": aad, "nonce": nonce,
                "ciphertext": text("ciphertext_base64"),
            });
            serde_json::from_value::<Sealed>(sealed).unwrap().open(&key)
        };
        assert_eq!(
            open(text("associated_data"), text("nonce")).unwrap().as_slice(),
            b"message"
        );
        assert!(open("bad-associatedData", text("nonce")).is_none());
        assert!(open(text("associated_data"), "bad-4a9R25RW").is_none());
    }

    #[test]
    fn the_published_signature_holds_with_its_certificate_only() {
        let Some(vectors) = vectors() else { return };
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/wechatpay/java-keys");
        let case = &vectors["rsa_sign_2"];
        let signature = case["signature_base64"].as_str().unwrap();
        let merchant = PublicKey::from_file(&keys.join("merchant_certificate.pem")).unwrap();
        assert!(merchant.verifies(b"message", signature));
        for other in ["wechat_pay_public_key.pem", "wechat_pay_certificate.pem"] {
            assert!(
                !PublicKey::from_file(&keys.join(other))
                    .unwrap()
                    .verifies(b"message", signature)
            );
        }
        let pem = std::fs::read(keys.join("merchant_certificate.pem")).unwrap();
        assert!(read_certificate(&pem, case["merchant_serial"].as_str().unwrap()).is_some());
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in r#"\{"data":\[.{0,60}\]\}|.{0,60}"#) {
            let _ = read_certificates(body.as_bytes(), &ApiV3Key::new(&[1; 32]).unwrap());
        }
    }
}
