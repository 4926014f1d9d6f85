//! The refresh token: `rt_` and, in base64url, user, session, a random id, and a MAC of the three.
//!
//! Which id of a session is the good one stands in the key-value store; a token that was never ours is refused by its MAC
//! before the store is asked. So whoever knows the ids of a user and a session (they are in every access token) cannot pass
//! off a wrong token as a reused one and end the session; and whoever reads the store cannot make tokens of what it holds.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::UserId;
use uuid::Uuid;

use super::SessionId;

const PREFIX: &str = "rt_";
/// Bytes of the MAC: HMAC-SHA-256.
pub(crate) const MAC_BYTES: usize = 32;
const ID_BYTES: usize = 16;
const SIGNED_BYTES: usize = 3 * ID_BYTES;
const ALL_BYTES: usize = SIGNED_BYTES + MAC_BYTES;
/// Of base64url without padding.
const TEXT_BYTES: usize = ALL_BYTES.div_ceil(3) * 4 - 1;

/// What a refresh token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) user_id: UserId,
    pub(crate) session_id: SessionId,
    /// Its own id: random, so that no id can be guessed from another.
    pub(crate) jti: Uuid,
}

/// A refresh token as it came, with the MAC that is to be checked.
pub(crate) struct Presented {
    pub(crate) token: RefreshToken,
    pub(crate) mac: [u8; MAC_BYTES],
}

impl RefreshToken {
    /// Returns what the MAC is made of.
    pub(crate) fn signed(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes())
    }

    fn bytes(&self) -> [u8; SIGNED_BYTES] {
        let mut bytes = [0; SIGNED_BYTES];
        bytes[..16].copy_from_slice(self.user_id.uuid().as_bytes());
        bytes[16..32].copy_from_slice(self.session_id.uuid().as_bytes());
        bytes[32..].copy_from_slice(self.jti.as_bytes());
        bytes
    }

    /// Writes the token with its MAC.
    pub(crate) fn encode(&self, mac: &[u8; MAC_BYTES]) -> String {
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string([self.bytes().as_slice(), mac].concat(), &mut text);
        text
    }
}

impl Presented {
    /// Reads a token; `None` if it is not written as ours are.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text
            .strip_prefix(PREFIX)
            .filter(|text| text.len() == TEXT_BYTES)?;
        let bytes: [u8; ALL_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (signed, mac) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
        let id = |at: usize| Uuid::from_slice(&signed[at..at + ID_BYTES]).ok();
        Some(Self {
            token: RefreshToken {
                user_id: UserId::from_uuid(id(0)?),
                session_id: SessionId::from_uuid(id(ID_BYTES)?),
                jti: id(2 * ID_BYTES)?,
            },
            mac: mac.try_into().ok()?,
        })
    }
}

impl fmt::Debug for RefreshToken {
    /// Leaves out the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("user_id", &self.user_id)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_reads_back_as_it_was_written(user: u128, session: u128, jti: u128, mac: [u8; MAC_BYTES]) {
            let token = RefreshToken {
                user_id: UserId::from_uuid(Uuid::from_u128(user)),
                session_id: SessionId::from_uuid(Uuid::from_u128(session)),
                jti: Uuid::from_u128(jti),
            };
            let text = token.encode(&mac);
            let read = Presented::parse(&text).unwrap();
            prop_assert_eq!(read.token, token);
            prop_assert_eq!(read.mac, mac);
            for cut in 0..text.len() {
                prop_assert!(Presented::parse(&text[..cut]).is_none());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(rt_)?.{0,120}") {
            if let Some(read) = Presented::parse(&text) {
                prop_assert_eq!(read.token.encode(&read.mac), text);
            }
        }

        #[test]
        fn no_text_has_two_spellings(text in "rt_[A-Za-z0-9_-]{107}") {
            if let Some(read) = Presented::parse(&text) {
                prop_assert_eq!(read.token.encode(&read.mac), text);
            }
        }
    }
}
