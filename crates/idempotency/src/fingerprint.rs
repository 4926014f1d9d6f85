//! What tells two requests apart.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 over the parts of a request, each with its length before it, so that no two lists of parts are confused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Bytes of a fingerprint.
    pub(crate) const BYTES: usize = 32;

    /// Computes it.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            // No address space has more than 64 bits.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_confused() {
        let one = Fingerprint::of(&[b"POST", b"/a", b"b"]);
        assert_eq!(one, Fingerprint::of(&[b"POST", b"/a", b"b"]));
        for other in [
            Fingerprint::of(&[b"POST", b"/ab", b""]),
            Fingerprint::of(&[b"POST", b"/a", b"", b"b"]),
            Fingerprint::of(&[b"PUT", b"/a", b"b"]),
        ] {
            assert_ne!(one, other);
        }
    }
}
