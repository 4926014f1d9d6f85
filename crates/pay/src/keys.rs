//! RSA keys: ours sign, the provider's verify.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Largest file of keys that is read, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    /// The text is no PEM, and no base64 either.
    #[error("neither PEM nor base64")]
    Syntax,
    /// It is not an RSA key of 2,048 to 8,192 bits in PKCS#8, PKCS#1, SubjectPublicKeyInfo or a certificate.
    #[error("not an RSA key of 2048 to 8192 bits")]
    Key,
    /// It is no X.509 certificate.
    #[error("not an X.509 certificate")]
    Certificate,
    /// The secret does not have 32 bytes.
    #[error("not 32 bytes")]
    Length,
}

/// A private RSA key. Cheap to clone. AWS-LC wipes its memory when the last clone is dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct PrivateKey(Arc<KeyPair>);

impl PrivateKey {
    /// Reads a key: PEM (PKCS#8 or PKCS#1), or the bare base64 that Alipay's tools write.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = block(pem)?;
        let pair = KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der));
        Ok(Self(Arc::new(pair.map_err(|_| KeyError::Key)?)))
    }

    /// Reads a key from a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(path)?)
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256, in base64.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a key that could be read signs, and the buffer is as long as its modulus");
        STANDARD.encode(signature)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// A public RSA key. Cheap to clone.
#[derive(Clone)]
pub struct PublicKey(Arc<ParsedPublicKey>);

impl PublicKey {
    /// Reads a key: PEM of a public key or of a certificate, or bare base64 of a public key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = block(pem)?;
        match X509Certificate::from_der(&der) {
            Ok((_, certificate)) => Self::from_spki(certificate.public_key().raw),
            Err(_) => Self::from_spki(&der),
        }
    }

    /// Reads a key from a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(path)?)
    }

    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| KeyError::Key)?;
        Ok(Self(Arc::new(key)))
    }

    /// Says whether a base64 signature (RSASSA-PKCS1-v1_5, SHA-256) is of this key and message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        STANDARD
            .decode(signature)
            .is_ok_and(|signature| self.0.verify_sig(message, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    std::fs::read(path).map(Zeroizing::new).map_err(KeyError::Read)
}

/// Decodes the first PEM block, or text without one as bare base64.
fn block(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let blocks = blocks(pem)?;
    blocks.into_iter().next().ok_or(KeyError::Syntax)
}

/// Decodes all PEM blocks; text without any is one block of bare base64.
pub(crate) fn blocks(pem: &[u8]) -> Result<Vec<Zeroizing<Vec<u8>>>, KeyError> {
    if pem.len() > MAX_KEY_BYTES {
        return Err(KeyError::Syntax);
    }
    let text = std::str::from_utf8(pem).map_err(|_| KeyError::Syntax)?;
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (_, body) = after.split_once("-----").ok_or(KeyError::Syntax)?;
        let (body, after) = body.split_once("-----END ").ok_or(KeyError::Syntax)?;
        blocks.push(decode(body)?);
        rest = after;
    }
    if blocks.is_empty() {
        blocks.push(decode(text)?);
    }
    Ok(blocks)
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let packed: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    // Decoded into a buffer of the full size, so that no copy is left behind by a growing one.
    let mut der = Zeroizing::new(vec![0; packed.len().div_ceil(4) * 3]);
    let length = STANDARD
        .decode_slice(packed.as_slice(), &mut der)
        .map_err(|_| KeyError::Syntax)?;
    der.truncate(length);
    if der.is_empty() {
        return Err(KeyError::Syntax);
    }
    Ok(der)
}

#[cfg(test)]
pub(crate) mod made {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;

    /// Makes a private and a public key, in base64.
    pub(crate) fn pair() -> (String, String) {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        (
            STANDARD.encode(private.as_ref()),
            STANDARD.encode(public.as_ref()),
        )
    }

    /// Makes a key and what verifies it.
    pub(crate) fn keys() -> (PrivateKey, PublicKey) {
        let (private, public) = pair();
        let private = PrivateKey::from_pem(private.as_bytes()).unwrap();
        (private, PublicKey::from_pem(public.as_bytes()).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::made::pair;
    use super::*;

    #[test]
    fn keys_are_read_with_and_without_armour() {
        let (private, public) = pair();
        let bare = PrivateKey::from_pem(private.as_bytes()).unwrap();
        let armoured = format!("-----BEGIN PRIVATE KEY-----\r\n{private}\r\n-----END PRIVATE KEY-----\n");
        let signature = PrivateKey::from_pem(armoured.as_bytes())
            .unwrap()
            .sign(b"message");
        assert_eq!(signature, bare.sign(b"message"));
        let armoured = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        for key in [public.as_bytes(), armoured.as_bytes()] {
            let key = PublicKey::from_pem(key).unwrap();
            assert!(key.verifies(b"message", &signature));
            assert!(!key.verifies(b"massage", &signature));
            assert!(!key.verifies(b"message", "no base64"));
        }
    }

    #[test]
    fn another_key_does_not_verify() {
        let signature = PrivateKey::from_pem(pair().0.as_bytes())
            .unwrap()
            .sign(b"message");
        let other = PublicKey::from_pem(pair().1.as_bytes()).unwrap();
        assert!(!other.verifies(b"message", &signature));
    }

    #[test]
    fn debug_shows_no_key() {
        let (private, public) = pair();
        let shown = format!(
            "{:?} {:?}",
            PrivateKey::from_pem(private.as_bytes()).unwrap(),
            PublicKey::from_pem(public.as_bytes()).unwrap()
        );
        assert_eq!(shown, "PrivateKey PublicKey");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(-----BEGIN [A-Z ]{0,9}-----)?[A-Za-z0-9+/=\n-]{0,80}(-----END [A-Z]{0,3}-----)?".prop_map(String::into_bytes),
            ]
        ) {
            prop_assert!(PrivateKey::from_pem(&bytes).is_err());
            prop_assert!(PublicKey::from_pem(&bytes).is_err());
        }
    }
}
