//! PEM blocks (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;

/// Label of a private key in PKCS#8.
pub(super) const PRIVATE: &str = "PRIVATE KEY";
/// Label of a public key in X.509's form.
pub(super) const PUBLIC: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of an Ed25519 key in X.509's form (RFC 8410, 4).
pub(super) const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Characters in a line.
const LINE: usize = 64;

/// Returns the content of the first block with this label.
pub(super) fn decode(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let (_, rest) = text.split_once(&begin).ok_or(KeyError::Pem(label))?;
    let (body, _) = rest.split_once(&end).ok_or(KeyError::Pem(label))?;
    let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = STANDARD
        .decode(base64.as_bytes())
        .map_err(|_| KeyError::Pem(label))?;
    Ok(Zeroizing::new(der))
}

/// Writes a block.
pub(super) fn encode(der: &[u8], label: &str) -> String {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(LINE.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
