//! The bytes of a sealed field: format, key version, nonce, ciphertext with its tag.

/// The only format so far.
const FORMAT: u8 = 1;
/// Bytes of a nonce of AES-GCM.
pub(super) const NONCE: usize = 12;
/// Bytes of a tag of AES-GCM.
const TAG: usize = 16;
/// Format and version of the key.
const HEAD: usize = 1 + 4;

/// A sealed field, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) key_version: u32,
    pub(super) nonce: [u8; NONCE],
    /// Ciphertext, then the tag.
    pub(super) body: &'a [u8],
}

/// Puts a sealed field together.
pub(super) fn write(key_version: u32, nonce: &[u8; NONCE], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + NONCE + body.len());
    bytes.push(FORMAT);
    bytes.extend(key_version.to_be_bytes());
    bytes.extend(nonce);
    bytes.extend(body);
    bytes
}

/// Takes a sealed field apart; `None` if it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Envelope<'_>> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [format, a, b, c, d] = *head;
    let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
    (format == FORMAT && body.len() >= TAG).then_some(Envelope {
        key_version: u32::from_be_bytes([a, b, c, d]),
        nonce: *nonce,
        body,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(envelope) = read(&bytes) {
                prop_assert_eq!(write(envelope.key_version, &envelope.nonce, envelope.body), bytes);
            }
        }
    }
}
