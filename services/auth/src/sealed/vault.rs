//! Keys, and what is done with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::envelope::{self, NONCE};

/// Bytes of every key.
const KEY: usize = 32;
/// Longest field that is sealed, in bytes.
const MAX_PLAIN: usize = 16 * 1024;

/// Keys of the fields that are encrypted at rest. Keys are 32 bytes, base64; made with `openssl rand -base64 32`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The first seals; all of them open. To change the key, put a new one first and keep the old ones.
    pub keys: Vec<KeyConfig>,
    /// Key of the blind indexes. It cannot be changed without computing all of them anew.
    pub index_key: String,
}

/// One key.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Its version, unique and never used for another key.
    pub version: u32,
    /// 32 bytes, base64.
    pub key: String,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyConfig")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Makes keys for a development machine.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        let random = || -> Result<String, Error> {
            let mut key = Zeroizing::new([0; KEY]);
            SystemRandom::new()
                .fill(key.as_mut())
                .map_err(|_| Error::Random)?;
            Ok(STANDARD.encode(key.as_ref()))
        };
        Ok(Self {
            keys: vec![KeyConfig {
                version: 1,
                key: random()?,
            }],
            index_key: random()?,
        })
    }
}

/// Why a field was not sealed or opened. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings are not usable.
    #[error("auth.vault: {0}")]
    Config(String),
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
    /// The field is larger than 16 KiB.
    #[error("the field is too large to be sealed")]
    TooLarge,
    /// The bytes are no sealed field, were changed, or belong to another place.
    #[error("the sealed field is damaged or belongs elsewhere")]
    Damaged,
    /// The field was sealed with a key that is not configured any more.
    #[error("the sealed field needs key version {0}, which is not configured")]
    NoKey(u32),
}

/// Where a sealed field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table with its schema.
    pub table: &'a str,
    /// Column.
    pub column: &'a str,
    /// Primary key of the row, as text.
    pub row: &'a str,
}

/// Seals and opens fields. Cheap to clone.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    current: u32,
    keys: BTreeMap<u32, LessSafeKey>,
    index: hmac::Key,
    random: SystemRandom,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.0.keys.keys().collect();
        f.debug_struct("Vault")
            .field("keys", &versions)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads the keys.
    ///
    /// # Errors
    /// There is none, one is not 32 bytes of base64, or a version comes twice.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let Some(first) = config.keys.first() else {
            return Err(Error::Config(
                "keys is empty; make one with `openssl rand -base64 32`".to_owned(),
            ));
        };
        let mut keys = BTreeMap::new();
        for KeyConfig { version, key } in &config.keys {
            let bytes = decode(key, &format!("key version {version}"))?;
            let key = UnboundKey::new(&AES_256_GCM, bytes.as_ref()).map_err(|_| Error::Random)?;
            if keys.insert(*version, LessSafeKey::new(key)).is_some() {
                return Err(Error::Config(format!("key version {version} comes twice")));
            }
        }
        let index = decode(&config.index_key, "index_key")?;
        Ok(Self(Arc::new(Inner {
            current: first.version,
            keys,
            index: hmac::Key::new(hmac::HMAC_SHA256, index.as_ref()),
            random: SystemRandom::new(),
        })))
    }

    /// Seals a field for its place.
    ///
    /// # Errors
    /// It is too large, or there is no randomness.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        if plain.len() > MAX_PLAIN {
            return Err(Error::TooLarge);
        }
        let key = self
            .0
            .keys
            .get(&self.0.current)
            .ok_or(Error::NoKey(self.0.current))?;
        // 2^32 random nonces for each key are safe (NIST SP 800-38D, 8.3).
        let mut nonce = [0; NONCE];
        self.0.random.fill(&mut nonce).map_err(|_| Error::Random)?;
        let mut body = plain.to_vec();
        let aad = Aad::from(context(place, self.0.current));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| Error::TooLarge)?;
        Ok(envelope::write(self.0.current, &nonce, &body))
    }

    /// Opens a field of a place.
    ///
    /// # Errors
    /// It is damaged, belongs elsewhere, or its key is gone.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let envelope = envelope::read(sealed).ok_or(Error::Damaged)?;
        let version = envelope.key_version;
        let key = self.0.keys.get(&version).ok_or(Error::NoKey(version))?;
        let mut body = Zeroizing::new(envelope.body.to_vec());
        let aad = Aad::from(context(place, version));
        let nonce = Nonce::assume_unique_for_key(envelope.nonce);
        let length = key
            .open_in_place(nonce, aad, body.as_mut_slice())
            .map_err(|_| Error::Damaged)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// Returns what equal values of one context have in common, and unequal ones do not. 32 bytes.
    #[must_use]
    pub fn blind(&self, context: &str, value: &str) -> Vec<u8> {
        let mut with = hmac::Context::with_key(&self.0.index);
        with.update(&length(context));
        with.update(context.as_bytes());
        with.update(value.as_bytes());
        with.sign().as_ref().to_vec()
    }
}

/// What is authenticated with a field: each part with its length, so that no two places read alike.
fn context(place: Place<'_>, key_version: u32) -> Vec<u8> {
    let mut bytes = key_version.to_be_bytes().to_vec();
    for part in [place.table, place.column, place.row] {
        bytes.extend(length(part));
        bytes.extend(part.as_bytes());
    }
    bytes
}

fn length(text: &str) -> [u8; 8] {
    (text.len() as u64).to_be_bytes()
}

fn decode(text: &str, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
    match bytes {
        Ok(bytes) if bytes.len() == KEY => Ok(bytes),
        Ok(_) | Err(_) => Err(Error::Config(format!("{what} is not {KEY} bytes of base64"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Place<'_> = Place {
        table: "auth.user",
        column: "phone",
        row: "user_1",
    };

    fn vault() -> (Config, Vault) {
        let config = Config::generate().unwrap();
        let vault = Vault::new(&config).unwrap();
        (config, vault)
    }

    #[test]
    fn what_was_sealed_is_opened_in_its_place_only() {
        let (_, vault) = vault();
        let sealed = vault.seal(HERE, b"+8613800138000").unwrap();
        assert_eq!(vault.open(HERE, &sealed).unwrap().as_slice(), b"+8613800138000");
        for elsewhere in [
            Place {
                table: "auth.users",
                ..HERE
            },
            Place {
                column: "openid",
                ..HERE
            },
            Place {
                row: "user_2",
                ..HERE
            },
            Place {
                table: "auth.userp",
                column: "hone",
                ..HERE
            },
        ] {
            assert_eq!(vault.open(elsewhere, &sealed), Err(Error::Damaged));
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike_and_always_found_alike() {
        let (_, vault) = vault();
        assert_ne!(vault.seal(HERE, b"x").unwrap(), vault.seal(HERE, b"x").unwrap());
        assert_eq!(vault.blind("phone", "x"), vault.blind("phone", "x"));
        assert_ne!(vault.blind("phone", "x"), vault.blind("openid", "x"));
        assert_ne!(vault.blind("phonex", ""), vault.blind("phone", "x"));
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let (mut config, old) = vault();
        let sealed = old.seal(HERE, b"x").unwrap();
        let mut newer = Config::generate().unwrap().keys.remove(0);
        newer.version = 2;
        config.keys.insert(0, newer);
        let both = Vault::new(&config).unwrap();
        assert_eq!(both.open(HERE, &sealed).unwrap().as_slice(), b"x");
        let sealed = both.seal(HERE, b"y").unwrap();
        assert_eq!(old.open(HERE, &sealed), Err(Error::NoKey(2)));
    }

    #[test]
    fn wrong_keys_are_named_and_never_shown() {
        let good = Config::generate().unwrap();
        let secret = good.index_key.clone();
        assert!(!format!("{good:?}").contains(&secret));
        let empty = Config::default();
        let short = Config {
            index_key: STANDARD.encode([0; 16]),
            ..good.clone()
        };
        let twice = Config {
            keys: [good.keys.clone(), good.keys.clone()].concat(),
            ..good
        };
        for (config, named) in [
            (empty, "keys is empty"),
            (short, "index_key"),
            (twice, "comes twice"),
        ] {
            let text = Vault::new(&config).unwrap_err().to_string();
            assert!(text.contains(named) && !text.contains(&secret), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_noticed(plain in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let (_, vault) = vault();
            let mut sealed = vault.seal(HERE, &plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(vault.open(HERE, &sealed).is_err());
        }
    }
}
