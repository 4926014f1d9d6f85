//! Ed25519 keys: those that sign, those that verify, and their text forms.

mod jwks;
mod pem;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

pub use jwks::{Jwk, JwksError, KeySet};

/// Length of a public key, in bytes (RFC 8032).
const PUBLIC_BYTES: usize = 32;

/// The text is not a key of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block of the wanted label, or it is not base64.
    #[error("there is no PEM block `{0}`")]
    Pem(&'static str),
    /// The block holds something else than an Ed25519 key.
    #[error("it is not an Ed25519 key")]
    NotEd25519,
    /// No key could be made.
    #[error("the system gives no randomness")]
    Random,
}

/// A key that signs. Clones are the same key; it is not printed.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    kid: Arc<str>,
}

impl SigningKey {
    /// Makes a new key. Its id is the thumbprint of its public half (RFC 7638).
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Random)?;
        Ok(Self::of(pair))
    }

    /// Reads a key from a PEM block `PRIVATE KEY` (PKCS#8, RFC 8410), as written by [`to_pem`](Self::to_pem) or
    /// `openssl genpkey -algorithm ed25519`. Its id is the thumbprint of its public half.
    ///
    /// # Errors
    /// No such block, or another kind of key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::decode(text, pem::PRIVATE)?;
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self::of(pair))
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let kid = thumbprint(pair.public_key().as_ref()).into();
        Self {
            pair: Arc::new(pair),
            kid,
        }
    }

    /// Gives the key another id: services sign under their names.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        self.kid = kid.into();
        self
    }

    /// Returns the id under which verifiers know the key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Writes the key as a PEM block `PRIVATE KEY`. The text is wiped from memory when it is dropped.
    ///
    /// # Errors
    /// `Random` if the library cannot write the key, which it gives no reason for.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let der = self.pair.to_pkcs8v1().map_err(|_| KeyError::Random)?;
        Ok(Zeroizing::new(pem::encode(der.as_ref(), pem::PRIVATE)))
    }

    /// Returns the half that verifies.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(self.public()).expect("the public half of a key pair is a key")
    }

    /// Returns the public half as a JWK (RFC 8037).
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        Jwk::new(&self.kid, &self.verifying())
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.pair.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A key that verifies.
#[derive(Clone)]
pub struct VerifyingKey {
    parsed: ParsedPublicKey,
    bytes: [u8; PUBLIC_BYTES],
}

impl VerifyingKey {
    /// Reads a key from its 32 bytes (RFC 8032).
    ///
    /// # Errors
    /// Another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; PUBLIC_BYTES] = bytes.try_into().map_err(|_| KeyError::NotEd25519)?;
        let parsed = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self { parsed, bytes })
    }

    /// Reads a key from a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// No such block, or another kind of key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::decode(text, pem::PUBLIC)?;
        let bytes = der.strip_prefix(&pem::SPKI_PREFIX).ok_or(KeyError::NotEd25519)?;
        Self::from_bytes(bytes)
    }

    /// Writes the key as a PEM block `PUBLIC KEY`.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut der = pem::SPKI_PREFIX.to_vec();
        der.extend(self.bytes);
        pem::encode(&der, pem::PUBLIC)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", URL_SAFE_NO_PAD.encode(self.bytes))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

/// Thumbprint of a public key (RFC 7638, 3; the members are those that RFC 8037 names, in the order of their names).
fn thumbprint(public: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_survives_its_text_form() {
        let key = SigningKey::generate().unwrap();
        let read = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(read.kid(), key.kid());
        let public = VerifyingKey::from_pem(&key.verifying().to_pem()).unwrap();
        assert_eq!(public, key.verifying());
        assert!(public.verifies(b"text", read.sign(b"text").as_ref()));
        assert!(!public.verifies(b"other", read.sign(b"text").as_ref()));
    }

    #[test]
    fn a_key_made_by_openssl_is_read() {
        // `openssl genpkey -algorithm ed25519`, and `openssl pkey -pubout` of it.
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        let key = SigningKey::from_pem(private).unwrap();
        assert_eq!(key.verifying(), VerifyingKey::from_pem(public).unwrap());
        assert_eq!(key.verifying().to_pem(), public);
        // RFC 8037, appendix A.3: the same key.
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let key = SigningKey::generate().unwrap();
        let pem = key.to_pem().unwrap();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?}").contains(&secret[20..40]), "{key:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,200}", bytes: Vec<u8>) {
            let _ = SigningKey::from_pem(&text);
            let _ = VerifyingKey::from_pem(&text);
            let _ = SigningKey::from_pem(&pem::encode(&bytes, pem::PRIVATE));
            prop_assert!(VerifyingKey::from_pem(&pem::encode(&bytes, pem::PUBLIC)).is_err());
        }
    }
}
