//! Alipay's side: its keys and certificates, and the merchant it knows.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use serde::{Deserialize, Serialize};

use super::Merchant;
use crate::pay::{Lie, Pair};

/// Issuer of all certificates as Java writes names: the last part first.
const ROOT_NAME: &str = "CN=Double Root R1,OU=Certification Authority,O=Ant Double,C=CN";
const ROOT_SERIAL: u64 = 0x7c1e_55a0_0d0b_1e01;
const APP_SERIAL: u64 = 0x2021_0315_0000_0001;
const ALIPAY_SERIAL: u64 = 0x2021_0315_0000_0002;

#[derive(Debug)]
pub(super) struct Platform {
    pub(super) merchant: Merchant,
    pub(super) app_sn: String,
    pub(super) alipay_sn: String,
    pub(super) root_sn: String,
    app_key: Pair,
    key: Pair,
    rogue: Pair,
}

/// What is kept of a platform. Nobody needs to know the rogue key again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    merchant: Merchant,
    alipay_private_key: String,
}

impl Platform {
    pub(super) fn new() -> std::io::Result<Self> {
        let (app_key, key, root_key) = (Pair::generate()?, Pair::generate()?, Pair::generate()?);
        let rsa =
            |pair: &Pair| KeyPair::try_from(pair.private_der()?.as_slice()).map_err(std::io::Error::other);
        let mut root = params("Double Root R1", ROOT_SERIAL);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = rsa(&root_key)?;
        let root_pem = root.self_signed(&root_key).map_err(std::io::Error::other)?.pem();
        // Stands for Alipay's SM2 root, which counts for nothing.
        let other_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(std::io::Error::other)?;
        let other = params("Double Root E1", 9)
            .self_signed(&other_key)
            .map_err(std::io::Error::other)?;
        let issuer = Issuer::new(root, root_key);
        let certify = |name: &str, serial: u64, pair: &Pair| {
            params(name, serial)
                .signed_by(&rsa(pair)?, &issuer)
                .map(|certificate| certificate.pem())
                .map_err(std::io::Error::other)
        };
        let merchant = Merchant {
            app_id: "2021000199900001".to_owned(),
            merchant_id: "2088000199900001".to_owned(),
            private_key: STANDARD.encode(app_key.private_der()?),
            alipay_public_key: key.public_pem()?,
            app_certificate: certify("2088000199900001-2021000199900001", APP_SERIAL, &app_key)?,
            alipay_certificate: format!("{}{root_pem}", certify("Alipay double", ALIPAY_SERIAL, &key)?),
            roots: format!("{}{root_pem}", other.pem()),
        };
        Self::with(merchant, app_key, key)
    }

    fn with(merchant: Merchant, app_key: Pair, key: Pair) -> std::io::Result<Self> {
        Ok(Self {
            merchant,
            app_sn: number(APP_SERIAL),
            alipay_sn: number(ALIPAY_SERIAL),
            root_sn: number(ROOT_SERIAL),
            app_key,
            key,
            rogue: Pair::generate()?,
        })
    }

    /// Returns what [`of`](Self::of) needs.
    pub(super) fn kept(&self) -> std::io::Result<Kept> {
        Ok(Kept {
            merchant: self.merchant.clone(),
            alipay_private_key: self.key.private_pem()?,
        })
    }

    /// Makes the platform that was kept.
    pub(super) fn of(kept: Kept) -> std::io::Result<Self> {
        let app_key = Pair::read(&kept.merchant.private_key)?;
        let key = Pair::read(&kept.alipay_private_key)?;
        Self::with(kept.merchant, app_key, key)
    }

    /// Says whether a signature is the merchant's.
    pub(super) fn is_the_merchants(&self, text: &str, signature: &str) -> bool {
        self.app_key.verifies(text.as_bytes(), signature)
    }

    pub(super) fn sign(&self, text: &str, lie: Lie) -> String {
        let key = if lie == Lie::WrongKey {
            &self.rogue
        } else {
            &self.key
        };
        key.sign(text.as_bytes())
    }
}

/// Parameters of a certificate.
fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "CN"),
        (DnType::OrganizationName, "Ant Double"),
        (DnType::OrganizationalUnitName, "Certification Authority"),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

/// The number (SN) of a certificate that the root has issued.
fn number(serial: u64) -> String {
    Md5::digest(format!("{ROOT_NAME}{serial}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is signed: the parameters in order, but for the empty ones and those of `without`.
pub(super) fn sorted(parameters: &BTreeMap<String, String>, without: &[&str]) -> String {
    let parts: Vec<String> = parameters
        .iter()
        .filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join("&")
}
