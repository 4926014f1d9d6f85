//! Signed tokens as text: the compact form of RFC 7515, with Ed25519 (RFC 8037) and nothing else.
//!
//! One algorithm with keys of one type leaves no choice to whoever sends a token, so the confusions that a choice brings
//! (`none`, a public key taken as a shared secret) cannot be expressed. A test holds it against an independent library.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::{SigningKey, VerifyingKey};

/// Longest token that is looked at, in bytes. Ours have about 400.
pub(crate) const MAX_BYTES: usize = 4096;
/// The one algorithm (RFC 8037).
const ALGORITHM: &str = "EdDSA";

/// What a token says of itself; not to be believed before the signature is verified, and afterwards only as far as it chose
/// the key.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) typ: String,
    pub(crate) kid: String,
    alg: String,
    /// Extensions that must be understood (RFC 7515, 4.1.11). We understand none.
    crit: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct OwnHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// A token taken apart.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) header: Header,
    payload: &'a str,
    /// Header and payload as they were signed.
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `Malformed`, or `Algorithm` if it is not signed with EdDSA.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Error> {
        if token.len() > MAX_BYTES {
            return Err(Error::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        // A second dot too many is not base64url.
        let (header, payload) = signed.split_once('.').ok_or(Error::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != ALGORITHM {
            return Err(Error::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Error::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Error::Malformed)?;
        Ok(Self {
            header,
            payload,
            signed,
            signature,
        })
    }

    /// Returns the claims, if the key made the signature.
    ///
    /// # Errors
    /// `Signature`, or `Malformed` if the claims are not those of `C`.
    pub(crate) fn verify<C: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<C, Error> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(Error::Signature);
        }
        decode(self.payload)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Malformed)
}

/// Signs claims.
pub(crate) fn sign<C: Serialize>(typ: &str, claims: &C, key: &SigningKey) -> String {
    let header = OwnHeader {
        alg: ALGORITHM,
        typ,
        kid: key.kid(),
    };
    let mut token = encode(&header);
    token.push('.');
    token.push_str(&encode(claims));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

fn encode<T: Serialize>(part: &T) -> String {
    let json = serde_json::to_vec(part).expect("texts and numbers can be written as JSON");
    URL_SAFE_NO_PAD.encode(json)
}
