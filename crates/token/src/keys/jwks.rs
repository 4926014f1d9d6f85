//! Sets of public keys (RFC 7517).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::auth::v1 as pb;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::VerifyingKey;

/// Most keys in a set; the auth service has two.
const MAX_KEYS: usize = 16;
/// Longest JSON of a set, in bytes.
const MAX_JSON_BYTES: usize = 64 * 1024;
/// Longest id of a key, in bytes.
const MAX_KID_BYTES: usize = 128;

/// A public key as it is published (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The key, base64url.
    pub x: String,
    /// Its id.
    pub kid: String,
    /// `sig`, or not said.
    #[serde(rename = "use", default)]
    pub usage: String,
    /// `EdDSA`, or not said.
    #[serde(default)]
    pub alg: String,
}

impl Jwk {
    pub(super) fn new(kid: &str, key: &VerifyingKey) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.bytes()),
            kid: kid.to_owned(),
            usage: "sig".to_owned(),
            alg: "EdDSA".to_owned(),
        }
    }

    /// Tells whether it is of a kind that we use; a set may have others, which are for others.
    fn is_ours(&self) -> bool {
        self.kty == "OKP"
            && self.crv == "Ed25519"
            && ["", "sig"].contains(&self.usage.as_str())
            && ["", "EdDSA"].contains(&self.alg.as_str())
    }
}

impl From<Jwk> for pb::Jwk {
    fn from(jwk: Jwk) -> Self {
        Self {
            kty: jwk.kty,
            crv: jwk.crv,
            x: jwk.x,
            kid: jwk.kid,
            r#use: jwk.usage,
            alg: jwk.alg,
        }
    }
}

impl From<pb::Jwk> for Jwk {
    fn from(jwk: pb::Jwk) -> Self {
        Self {
            kty: jwk.kty,
            crv: jwk.crv,
            x: jwk.x,
            kid: jwk.kid,
            usage: jwk.r#use,
            alg: jwk.alg,
        }
    }
}

/// Why a set of keys cannot be used. None of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Larger than 64 KiB, or not an object with an array `keys`.
    #[error("it is not a set of keys of at most 64 KiB")]
    Malformed,
    /// More than 16 keys.
    #[error("it has {0} keys; at most {MAX_KEYS} are read")]
    TooMany(usize),
    /// A key of ours is damaged, or its id is empty, too long, or another key's.
    #[error("the key {0:?} cannot be used")]
    Key(String),
}

/// The keys that verify, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet(BTreeMap<String, VerifyingKey>);

impl KeySet {
    /// Reads a set: at most 16 keys, of which those that are not Ed25519 keys for signatures are ignored.
    ///
    /// # Errors
    /// Too many, a damaged one, or two of one id.
    pub fn new(keys: impl IntoIterator<Item = Jwk, IntoIter: ExactSizeIterator>) -> Result<Self, JwksError> {
        let keys = keys.into_iter();
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany(keys.len()));
        }
        let mut set = BTreeMap::new();
        for jwk in keys.filter(Jwk::is_ours) {
            let unusable = || JwksError::Key(jwk.kid.chars().take(MAX_KID_BYTES).collect());
            let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).map_err(|_| unusable())?;
            let key = VerifyingKey::from_bytes(&bytes).map_err(|_| unusable())?;
            let named = (1..=MAX_KID_BYTES).contains(&jwk.kid.len());
            if !named || set.insert(jwk.kid.clone(), key).is_some() {
                return Err(unusable());
            }
        }
        Ok(Self(set))
    }

    /// Reads a set from its JSON form, at most 64 KiB.
    ///
    /// # Errors
    /// As [`new`](Self::new), or it is not a set of keys.
    pub fn from_json(json: &[u8]) -> Result<Self, JwksError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        if json.len() > MAX_JSON_BYTES {
            return Err(JwksError::Malformed);
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| JwksError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany(document.keys.len()));
        }
        // A key of another type need not have the members of ours.
        let ours: Vec<Jwk> = document
            .keys
            .into_iter()
            .filter(|key| key["kty"] == "OKP")
            .map(|key| serde_json::from_value(key).map_err(|_| JwksError::Malformed))
            .collect::<Result<_, _>>()?;
        Self::new(ours)
    }

    /// Returns the key of this id.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::keys::SigningKey;

    fn jwk() -> Jwk {
        SigningKey::generate().unwrap().jwk()
    }

    #[test]
    fn a_key_is_found_by_its_id_in_either_form() {
        let (a, b) = (jwk(), jwk());
        let set = KeySet::new([a.clone(), b.clone()]).unwrap();
        assert!(set.get(&a.kid).is_some() && set.get(&b.kid).is_some() && set.get("c").is_none());
        let json = json!({"keys": [a, b, {"kty": "EC", "crv": "P-256"}, {"kty": "RSA", "kid": 7}]});
        assert_eq!(KeySet::from_json(json.to_string().as_bytes()).unwrap(), set);
        let wire = pb::Jwk::from(a.clone());
        assert_eq!(Jwk::from(wire), a);
    }

    #[test]
    fn keys_for_other_uses_are_ignored() {
        let encryption = Jwk {
            usage: "enc".to_owned(),
            ..jwk()
        };
        let curve = Jwk {
            crv: "X25519".to_owned(),
            ..jwk()
        };
        let algorithm = Jwk {
            alg: "HS256".to_owned(),
            ..jwk()
        };
        let set = KeySet::new([encryption, curve, algorithm]).unwrap();
        assert_eq!(set, KeySet::default());
    }

    #[test]
    fn a_damaged_set_is_refused_as_a_whole() {
        let good = jwk();
        for bad in [
            Jwk {
                x: "AAAA".to_owned(),
                ..jwk()
            },
            Jwk {
                x: "?".to_owned(),
                ..jwk()
            },
            Jwk {
                kid: String::new(),
                ..jwk()
            },
            Jwk {
                kid: "k".repeat(129),
                ..jwk()
            },
            Jwk {
                kid: good.kid.clone(),
                ..jwk()
            },
        ] {
            assert!(matches!(KeySet::new([good.clone(), bad]), Err(JwksError::Key(_))));
        }
    }

    #[test]
    fn a_set_is_bounded() {
        let many: Vec<Jwk> = (0..17).map(|_| jwk()).collect();
        assert_eq!(KeySet::new(many.clone()), Err(JwksError::TooMany(17)));
        let json = json!({ "keys": many }).to_string();
        assert_eq!(KeySet::from_json(json.as_bytes()), Err(JwksError::TooMany(17)));
        let long = json!({ "keys": [], "more": "x".repeat(MAX_JSON_BYTES) }).to_string();
        assert_eq!(KeySet::from_json(long.as_bytes()), Err(JwksError::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, text in r#"\{"keys":\[\{"kty":"OKP",.{0,60}\}\]\}"#) {
            let _ = KeySet::from_json(&bytes);
            let _ = KeySet::from_json(text.as_bytes());
        }
    }
}
