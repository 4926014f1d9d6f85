//! RSA keys, made at the first start.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A key pair. `Debug` does not show it, as if it were worth anything.
pub(crate) struct Pair(RsaKeyPair);

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

impl Pair {
    pub(crate) fn generate() -> std::io::Result<Self> {
        RsaKeyPair::generate(KeySize::Rsa2048)
            .map(Self)
            .map_err(std::io::Error::other)
    }

    /// Reads a key that [`private_pem`](Self::private_pem) wrote, or its base64 without armour.
    pub(crate) fn read(text: &str) -> std::io::Result<Self> {
        let packed: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let invalid = |error: String| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let der = STANDARD
            .decode(packed.trim())
            .map_err(|error| invalid(format!("a private key is not base64: {error}")))?;
        RsaKeyPair::from_pkcs8(&der)
            .map(Self)
            .map_err(|error| invalid(format!("not a private RSA key: {error}")))
    }

    /// PKCS#8, without armour.
    pub(crate) fn private_der(&self) -> std::io::Result<Vec<u8>> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().map_err(std::io::Error::other)?;
        Ok(der.as_ref().to_vec())
    }

    pub(crate) fn private_pem(&self) -> std::io::Result<String> {
        Ok(pem("PRIVATE KEY", &self.private_der()?))
    }

    fn public_der(&self) -> std::io::Result<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().map_err(std::io::Error::other)?;
        Ok(der.as_ref().to_vec())
    }

    pub(crate) fn public_pem(&self) -> std::io::Result<String> {
        Ok(pem("PUBLIC KEY", &self.public_der()?))
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256, in base64.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a generated key signs");
        STANDARD.encode(signature)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.public_key().as_ref());
        STANDARD
            .decode(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let packed = STANDARD.encode(der);
    let lines: Vec<&str> = packed
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap_or_default())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_written_is_the_same_when_it_is_read() {
        let pair = Pair::generate().unwrap();
        let signature = pair.sign(b"message");
        let bare = STANDARD.encode(pair.private_der().unwrap());
        for text in [pair.private_pem().unwrap(), bare] {
            assert!(Pair::read(&text).unwrap().verifies(b"message", &signature));
        }
        for wrong in ["", "-----BEGIN PRIVATE KEY-----", "AAAA", "é"] {
            assert!(Pair::read(wrong).is_err(), "{wrong}");
        }
    }
}
