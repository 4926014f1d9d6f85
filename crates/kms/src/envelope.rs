//! The bytes of a sealed field.
//!
//! | bytes | what |
//! |---|---|
//! | 3 | `EKE` |
//! | 1 | format, 1 |
//! | 1 | who holds the key: 1 a key file, 2 Tencent Cloud |
//! | 1 + n | name of the key, with its length |
//! | 4 | version of the key, big-endian |
//! | 2 + n | wrapped data key, with its length, big-endian |
//! | 12 | nonce of the content |
//! | n + 16 | content, encrypted, and its tag |

use crate::MAX_PLAIN_BYTES;
use crate::key_id::{KeyId, Kind, is_name};

const MAGIC: [u8; 3] = *b"EKE";
/// The only format so far.
pub(crate) const FORMAT: u8 = 1;
/// Bytes of a nonce of AES-GCM.
pub(crate) const NONCE: usize = 12;
/// Bytes of a tag of AES-GCM.
pub(crate) const TAG: usize = 16;
/// Longest wrapped data key, in bytes; Tencent Cloud's have about 200.
pub(crate) const MAX_WRAPPED: usize = 2_048;

/// A sealed field, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) key: KeyId,
    pub(crate) wrapped: &'a [u8],
    pub(crate) nonce: [u8; NONCE],
    /// Ciphertext, then the tag.
    pub(crate) body: &'a [u8],
}

/// Returns what every field begins with that this key has wrapped.
pub(crate) fn prefix(key: &KeyId) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend([FORMAT, key.kind.tag(), size(&key.name)]);
    bytes.extend(key.name.as_bytes());
    bytes.extend(key.version.to_be_bytes());
    bytes
}

/// Puts everything before the ciphertext together, with room for `more` bytes.
pub(crate) fn head(key: &KeyId, wrapped: &[u8], nonce: &[u8; NONCE], more: usize) -> Vec<u8> {
    let prefix = prefix(key);
    let mut bytes = Vec::with_capacity(prefix.len() + 2 + wrapped.len() + NONCE + more);
    bytes.extend(prefix);
    let length = u16::try_from(wrapped.len()).expect("providers give no more than MAX_WRAPPED");
    bytes.extend(length.to_be_bytes());
    bytes.extend(wrapped);
    bytes.extend(nonce);
    bytes
}

/// Takes a sealed field apart; `None` if it is none.
pub(crate) fn read(bytes: &[u8]) -> Option<Envelope<'_>> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let ([format, kind, length], rest) = rest.split_first_chunk().map(|(head, rest)| (*head, rest))?;
    if format != FORMAT {
        return None;
    }
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (version, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (wrapped, rest) = rest.split_at_checked(length)?;
    let (nonce, body) = rest.split_first_chunk()?;
    let fits = (1..=MAX_WRAPPED).contains(&length) && (TAG..=TAG + MAX_PLAIN_BYTES).contains(&body.len());
    let key = KeyId {
        kind: Kind::of(kind)?,
        name: is_name(name).then(|| str::from_utf8(name).ok())??.to_owned(),
        version: u32::from_be_bytes(*version),
    };
    fits.then_some(Envelope {
        key,
        wrapped,
        nonce: *nonce,
        body,
    })
}

fn size(name: &str) -> u8 {
    u8::try_from(name.len()).expect("a name has at most MAX_NAME bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = KeyId> {
        ("[!-~]{1,64}", any::<u32>(), any::<bool>()).prop_map(|(name, version, local)| KeyId {
            kind: if local { Kind::Local } else { Kind::Tencent },
            name,
            version,
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            if magic {
                bytes.splice(0..0, *b"EKE\x01\x01\x04");
            }
            if let Some(read) = read(&bytes) {
                let mut again = head(&read.key, read.wrapped, &read.nonce, 0);
                again.extend(read.body);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn what_was_put_together_is_taken_apart(
            key in key(),
            wrapped in prop::collection::vec(any::<u8>(), 1..300),
            nonce: [u8; NONCE],
            body in prop::collection::vec(any::<u8>(), TAG..100),
        ) {
            let mut bytes = head(&key, &wrapped, &nonce, body.len());
            bytes.extend(&body);
            prop_assert!(bytes.starts_with(&prefix(&key)));
            prop_assert_eq!(read(&bytes), Some(Envelope { key, wrapped: &wrapped, nonce, body: &body }));
            for cut in 0..bytes.len() - body.len() + TAG {
                prop_assert_eq!(read(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn what_is_too_long_or_of_another_format_is_refused() {
        let key = KeyId {
            kind: Kind::Local,
            name: "k".to_owned(),
            version: 1,
        };
        let with = |wrapped: usize, body: usize| {
            let mut bytes = head(&key, &vec![0; wrapped], &[0; NONCE], body);
            bytes.resize(bytes.len() + body, 0);
            bytes
        };
        let good = with(60, TAG);
        assert!(read(&good).is_some());
        for (wrapped, body) in [
            (0, TAG),
            (MAX_WRAPPED + 1, TAG),
            (60, TAG - 1),
            (60, TAG + MAX_PLAIN_BYTES + 1),
        ] {
            assert_eq!(read(&with(wrapped, body)), None, "{wrapped} {body}");
        }
        for (at, value) in [(0, b'e'), (3, 2), (4, 0), (4, 3), (5, 0), (6, b' '), (6, 0xc3)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(read(&bytes), None, "byte {at}");
        }
    }
}
