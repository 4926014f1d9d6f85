//! WeChat's side: its keys, and the merchant it knows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Merchant;
use crate::pay::Pair;

/// Certificates that are listed: the one in use and the one before.
const LISTED: usize = 2;
/// Length of an APIv3 key: that of a key of AES-256.
const API_V3_KEY_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Platform {
    pub(super) merchant: Merchant,
    pub(super) merchant_key: Pair,
    public_key: Pair,
    rogue: Pair,
    certificates: Mutex<Vec<Certificate>>,
    /// Whether the merchant trusts the public key: it named it in its last request. In the real console it is a setting.
    trusts_public_key: AtomicBool,
}

#[derive(Debug)]
struct Certificate {
    serial: String,
    key: Pair,
    pem: String,
}

impl Certificate {
    fn make() -> std::io::Result<Self> {
        let key = Pair::generate()?;
        let bytes = uuid::Uuid::new_v4().into_bytes();
        // Positive, and without zeros in front, so that it is written as it is stored.
        let mut serial = vec![0x5d];
        serial.extend_from_slice(&bytes);
        let signing =
            rcgen::KeyPair::try_from(key.private_der()?.as_slice()).map_err(std::io::Error::other)?;
        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Tenpay.com sign (double)");
        let certificate = params.self_signed(&signing).map_err(std::io::Error::other)?;
        Ok(Self {
            serial: serial.iter().map(|byte| format!("{byte:02X}")).collect(),
            key,
            pem: certificate.pem(),
        })
    }
}

/// What is kept of a platform. Nobody needs to know the rogue key again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    merchant: Merchant,
    platform_private_key: String,
    certificates: Vec<KeptCertificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptCertificate {
    serial: String,
    private_key: String,
    certificate: String,
}

/// Whose signature, and under which id.
pub(super) struct Signed {
    pub(super) serial: String,
    pub(super) signature: String,
}

impl Platform {
    pub(super) fn new() -> std::io::Result<Self> {
        let merchant_key = Pair::generate()?;
        let public_key = Pair::generate()?;
        let merchant = Merchant {
            app_id: format!("wx{}", crate::random_text()),
            merchant_id: "1900000109".to_owned(),
            serial: crate::random_text().to_uppercase(),
            private_key: merchant_key.private_pem()?,
            api_v3_key: crate::random_text(),
            public_key_id: format!("PUB_KEY_ID_0{}", crate::random_text().to_uppercase()),
            public_key: public_key.public_pem()?,
        };
        Ok(Self {
            merchant,
            merchant_key,
            public_key,
            rogue: Pair::generate()?,
            certificates: Mutex::new(vec![Certificate::make()?]),
            trusts_public_key: AtomicBool::new(false),
        })
    }

    /// Returns what [`of`](Self::of) needs.
    pub(super) fn kept(&self) -> std::io::Result<Kept> {
        let certificates = self.certificates();
        let certificates = certificates.iter().map(|found| {
            Ok(KeptCertificate {
                serial: found.serial.clone(),
                private_key: found.key.private_pem()?,
                certificate: found.pem.clone(),
            })
        });
        Ok(Kept {
            merchant: self.merchant.clone(),
            platform_private_key: self.public_key.private_pem()?,
            certificates: certificates.collect::<std::io::Result<_>>()?,
        })
    }

    /// Makes the platform that was kept.
    pub(super) fn of(kept: Kept) -> std::io::Result<Self> {
        let certificates = kept.certificates.into_iter().map(|found| {
            Ok(Certificate {
                serial: found.serial,
                key: Pair::read(&found.private_key)?,
                pem: found.certificate,
            })
        });
        let certificates: Vec<_> = certificates.collect::<std::io::Result<_>>()?;
        let whole = !certificates.is_empty() && kept.merchant.api_v3_key.len() == API_V3_KEY_BYTES;
        if !whole {
            let problem = "want a certificate, and an APIv3 key of 32 bytes";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
        }
        Ok(Self {
            merchant_key: Pair::read(&kept.merchant.private_key)?,
            public_key: Pair::read(&kept.platform_private_key)?,
            rogue: Pair::generate()?,
            certificates: Mutex::new(certificates),
            trusts_public_key: AtomicBool::new(false),
            merchant: kept.merchant,
        })
    }

    pub(super) fn rotate(&self) -> std::io::Result<()> {
        let certificate = Certificate::make()?;
        let mut certificates = self.certificates();
        certificates.push(certificate);
        let old = certificates.len().saturating_sub(LISTED);
        certificates.drain(..old);
        Ok(())
    }

    fn certificates(&self) -> MutexGuard<'_, Vec<Certificate>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears which key the merchant trusts, and remembers it for notifications.
    pub(super) fn hear(&self, serial: Option<&HeaderValue>) -> bool {
        let by_public_key = serial.is_some_and(|serial| *serial == self.merchant.public_key_id);
        self.trusts_public_key.store(by_public_key, Ordering::Relaxed);
        by_public_key
    }

    /// Signs what nobody has asked for with the key that the merchant trusts.
    pub(super) fn sign_notification(&self, rogue: bool, message: &[u8]) -> Signed {
        self.sign(self.trusts_public_key.load(Ordering::Relaxed), rogue, message)
    }

    /// Signs with the public key's pair, or with the newest certificate's; `rogue` with a key that is nobody's.
    pub(super) fn sign(&self, by_public_key: bool, rogue: bool, message: &[u8]) -> Signed {
        let certificates = self.certificates();
        let newest = certificates.last().filter(|_| !by_public_key);
        let (serial, key) = newest.map_or((&self.merchant.public_key_id, &self.public_key), |found| {
            (&found.serial, &found.key)
        });
        Signed {
            serial: serial.clone(),
            signature: if rogue { &self.rogue } else { key }.sign(message),
        }
    }

    /// Encrypts with the merchant's APIv3 key.
    pub(super) fn seal(&self, text: &str, associated_data: &str) -> Value {
        let nonce = crate::random_text()[..12].to_owned();
        let mut bytes = text.as_bytes().to_vec();
        let key =
            UnboundKey::new(&AES_256_GCM, self.merchant.api_v3_key.as_bytes()).expect("the key has 32 bytes");
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("the nonce has 12 bytes"),
                Aad::from(associated_data.as_bytes()),
                &mut bytes,
            )
            .expect("a short text can be sealed");
        json!({
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": STANDARD.encode(bytes),
            "associated_data": associated_data,
            "nonce": nonce,
        })
    }

    /// The answer of `GET /v3/certificates`.
    pub(super) fn list(&self) -> Value {
        let listed: Vec<Value> = self
            .certificates()
            .iter()
            .map(|certificate| {
                json!({
                    "serial_no": certificate.serial,
                    "effective_time": "2020-01-01T00:00:00+08:00",
                    "expire_time": "2099-01-01T00:00:00+08:00",
                    "encrypt_certificate": self.seal(&certificate.pem, "certificate"),
                })
            })
            .collect();
        json!({ "data": listed })
    }
}
