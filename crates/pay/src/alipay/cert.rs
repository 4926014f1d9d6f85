//! Certificate mode: what Alipay calls the numbers (SN) of certificates.

use std::path::Path;

use md5::{Digest, Md5};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::keys::{blocks, read};
use crate::{KeyError, PublicKey};

/// Arc of the algorithms of PKCS#1: certificates signed otherwise (SM2) have no part in the number of the roots.
const PKCS1: &str = "1.2.840.113549.1.1.";

/// The three certificates of certificate mode.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub(super) app_sn: String,
    pub(super) root_sn: String,
    pub(super) alipay_sn: String,
    pub(super) alipay_key: PublicKey,
}

impl Certificates {
    /// Reads the app's certificate, Alipay's, and Alipay's roots, each as PEM.
    ///
    /// # Errors
    /// [`KeyError`] if one cannot be read, or no root is signed with RSA.
    pub fn from_pem(app: &[u8], alipay: &[u8], roots: &[u8]) -> Result<Self, KeyError> {
        let root_sns: Vec<String> = blocks(roots)?
            .iter()
            .map(|der| with_certificate(der, |root| is_rsa(root).then(|| number(root))))
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        if root_sns.is_empty() {
            return Err(KeyError::Certificate);
        }
        Ok(Self {
            app_sn: first(app)?,
            root_sn: root_sns.join("_"),
            alipay_sn: first(alipay)?,
            alipay_key: PublicKey::from_pem(alipay)?,
        })
    }

    /// Reads the certificates from files.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_files(app: &Path, alipay: &Path, roots: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(app)?, &read(alipay)?, &read(roots)?)
    }
}

/// Returns the number of the first certificate in a file; the rest is its chain.
fn first(pem: &[u8]) -> Result<String, KeyError> {
    let blocks = blocks(pem)?;
    let der = blocks.first().ok_or(KeyError::Certificate)?;
    with_certificate(der, number)
}

fn with_certificate<T>(der: &[u8], use_it: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, KeyError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| KeyError::Certificate)?;
    Ok(use_it(&certificate))
}

fn is_rsa(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .signature_algorithm
        .algorithm
        .to_id_string()
        .starts_with(PKCS1)
}

/// Returns MD5 of the issuer's name and the serial number in decimal.
fn number(certificate: &X509Certificate<'_>) -> String {
    let text = format!(
        "{}{}",
        name(certificate.issuer()),
        certificate.tbs_certificate.serial
    );
    Md5::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes a name as RFC 2253 does: the last part first.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes: Vec<String> = rdn
                .iter()
                .map(|attribute| {
                    let oid = attribute.attr_type().to_id_string();
                    let value = attribute.as_str().unwrap_or_default();
                    format!("{}={}", short(&oid).unwrap_or(&oid), escaped(value))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn short(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        _ => return None,
    })
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let at_an_end = (c == ' ' && (index == 0 || index == last)) || (c == '#' && index == 0);
        if at_an_end || ",+\"\\<>;".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SerialNumber};

    use super::*;

    fn certificate(
        algorithm: &'static rcgen::SignatureAlgorithm,
        serial: &[u8],
        organization: &str,
    ) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "CN");
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, "A root");
        params.serial_number = Some(SerialNumber::from_slice(serial));
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn md5(text: &str) -> String {
        Md5::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn numbers_are_of_the_issuer_backwards_and_the_decimal_serial() {
        let one = certificate(&PKCS_RSA_SHA256, &[1, 0, 0, 0, 0, 0, 0, 0, 0], "Ant, Ltd.");
        let two = certificate(&PKCS_RSA_SHA256, &[7], "Two");
        let other = certificate(&PKCS_ECDSA_P256_SHA256, &[8], "Three");
        let roots = format!("{one}{other}{two}");
        let found = Certificates::from_pem(one.as_bytes(), two.as_bytes(), roots.as_bytes()).unwrap();
        let sn = [
            md5("CN=A root,O=Ant\\, Ltd.,C=CN18446744073709551616"),
            md5("CN=A root,O=Two,C=CN7"),
        ];
        assert_eq!((&found.app_sn, &found.alipay_sn), (&sn[0], &sn[1]));
        assert_eq!(found.root_sn, sn.join("_"));
        assert!(Certificates::from_pem(one.as_bytes(), two.as_bytes(), other.as_bytes()).is_err());
    }
}
