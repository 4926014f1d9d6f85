//! Completion tokens: what a participant shows when it answers an operation later than it was called.
//!
//! A token names one operation of one saga and carries a proof that the orchestrator made it. It is the same for all
//! attempts and all instances, so nothing is stored for it. Text: 76 characters of unpadded base64url over 57 bytes:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | format, 1 |
//! | 1 | number of the key |
//! | 2 to 17 | id of the saga |
//! | 18, 19 | position of the step, big endian |
//! | 20 to 23 | index, big endian |
//! | 24 | 0 action, 1 compensation |
//! | 25 to 56 | HMAC-SHA256 over bytes 0 to 24 |
//!
//! 57 bytes fill 76 characters exactly, so every text stands for at most one token and no bit of it is ignored.

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ids::SagaId;
use saga_core::{Op, OpKey};
use sqlx::PgPool;
use uuid::Uuid;

const FORMAT: u8 = 1;
const BODY_BYTES: usize = 25;
const MAC_BYTES: usize = 32;
/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of a token's text.
const TEXT_CHARS: usize = (BODY_BYTES + MAC_BYTES) / 3 * 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not answer.
    #[error("the keys of completion tokens cannot be read")]
    Database(#[from] sqlx::Error),
    /// The operating system gives no random bytes.
    #[error("there is no randomness for a key of completion tokens")]
    Randomness,
}

/// A text that is not a token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a completion token of this orchestrator")]
pub struct Invalid;

/// Makes and checks tokens.
pub struct Tokens {
    /// By number, ascending; at least one. The last one signs.
    keys: Vec<(u8, hmac::Key)>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<u8> = self.keys.iter().map(|(number, _)| *number).collect();
        f.debug_struct("Tokens").field("keys", &numbers).finish()
    }
}

impl Tokens {
    /// Reads the keys; makes the first one if there is none.
    ///
    /// # Errors
    /// The database does not answer, or there is no randomness.
    pub async fn open(pool: &PgPool) -> Result<Self, Error> {
        let mut made = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut made)
            .map_err(|Unspecified| Error::Randomness)?;
        // Instances that start at the same moment all read the key of the one that was first.
        sqlx::query("insert into saga.token_key (number, key) values (1, $1) on conflict on constraint token_key_pkey do nothing")
            .bind(made.as_slice())
            .execute(pool)
            .await?;
        let rows: Vec<(i16, Vec<u8>)> =
            sqlx::query_as("select number, key from saga.token_key order by number")
                .fetch_all(pool)
                .await?;
        let keys = rows
            .into_iter()
            .filter_map(|(number, key)| Some((u8::try_from(number).ok()?, key)));
        Ok(Self::of_keys(keys))
    }

    /// Makes tokens with one key of number 1, for tools and tests; instances read theirs with [`Tokens::open`].
    #[must_use]
    pub fn with_key(key: [u8; KEY_BYTES]) -> Self {
        Self::of_keys([(1, key.to_vec())])
    }

    fn of_keys(keys: impl IntoIterator<Item = (u8, Vec<u8>)>) -> Self {
        let keys = keys
            .into_iter()
            .map(|(number, key)| (number, hmac::Key::new(hmac::HMAC_SHA256, &key)));
        Self { keys: keys.collect() }
    }

    /// Returns the token of an operation.
    ///
    /// # Panics
    /// If there is no key, which [`Tokens::open`] made sure of.
    #[must_use]
    pub fn make(&self, saga: SagaId, key: OpKey) -> String {
        let (number, secret) = self.keys.last().expect("the table holds a key");
        let mut bytes = [0; BODY_BYTES + MAC_BYTES];
        let (body, mac) = bytes.split_at_mut(BODY_BYTES);
        body[0] = FORMAT;
        body[1] = *number;
        body[2..18].copy_from_slice(saga.uuid().as_bytes());
        body[18..20].copy_from_slice(&key.step.to_be_bytes());
        body[20..24].copy_from_slice(&key.index.to_be_bytes());
        body[24] = match key.op {
            Op::Action => 0,
            Op::Compensation => 1,
        };
        mac.copy_from_slice(hmac::sign(secret, body).as_ref());
        encode(&bytes)
    }

    /// Returns the operation that a token names.
    ///
    /// # Errors
    /// [`Invalid`] for every text that [`Tokens::make`] did not make with one of the keys. The comparison takes the same
    /// time wherever the proof differs.
    pub fn read(&self, text: &str) -> Result<(SagaId, OpKey), Invalid> {
        let bytes = decode(text).ok_or(Invalid)?;
        let (body, mac) = bytes.split_at(BODY_BYTES);
        if body[0] != FORMAT {
            return Err(Invalid);
        }
        let number = body[1];
        let (_, secret) = (self.keys.iter())
            .find(|(known, _)| *known == number)
            .ok_or(Invalid)?;
        hmac::verify(secret, body, mac).map_err(|Unspecified| Invalid)?;
        let saga = Uuid::from_slice(&body[2..18]).map_err(|_| Invalid)?;
        let op = match body[24] {
            0 => Op::Action,
            1 => Op::Compensation,
            _ => return Err(Invalid),
        };
        let key = OpKey {
            step: u16::from_be_bytes([body[18], body[19]]),
            index: u32::from_be_bytes([body[20], body[21], body[22], body[23]]),
            op,
        };
        Ok((SagaId::from_uuid(saga), key))
    }
}

fn encode(bytes: &[u8; BODY_BYTES + MAC_BYTES]) -> String {
    let quads = bytes.chunks_exact(3).flat_map(|three| {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    });
    quads.collect()
}

fn decode(text: &str) -> Option<[u8; BODY_BYTES + MAC_BYTES]> {
    if text.len() != TEXT_CHARS {
        return None;
    }
    let mut bytes = [0; BODY_BYTES + MAC_BYTES];
    for (four, three) in text.as_bytes().chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
        let mut bits = 0;
        for &character in four {
            bits = bits << 6 | u32::from(sextet(character)?);
        }
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(bytes)
}

const fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(seed: u8) -> Tokens {
        Tokens::with_key([seed; KEY_BYTES])
    }

    fn any_key() -> impl Strategy<Value = OpKey> {
        (any::<u16>(), any::<u32>(), any::<bool>()).prop_map(|(step, index, action)| OpKey {
            step,
            index,
            op: if action { Op::Action } else { Op::Compensation },
        })
    }

    fn any_saga() -> impl Strategy<Value = SagaId> {
        any::<u128>().prop_map(|bits| SagaId::from_uuid(Uuid::from_u128(bits)))
    }

    #[test]
    fn a_new_key_signs_and_the_old_one_still_verifies() {
        let (saga, key) = (
            SagaId::new(),
            OpKey {
                step: 3,
                index: 0,
                op: Op::Action,
            },
        );
        let old = tokens(1);
        let both = Tokens::of_keys([(1, vec![1; KEY_BYTES]), (2, vec![2; KEY_BYTES])]);
        assert_eq!(both.read(&old.make(saga, key)), Ok((saga, key)));
        assert_eq!(old.read(&both.make(saga, key)), Err(Invalid));
    }

    #[test]
    fn a_token_fits_its_header() {
        let token = tokens(1).make(
            SagaId::new(),
            OpKey {
                step: 0,
                index: 0,
                op: Op::Action,
            },
        );
        assert_eq!(token.len(), TEXT_CHARS);
        assert!(token.bytes().all(|b| ALPHABET.contains(&b)));
    }

    proptest! {
        #[test]
        fn a_token_gives_its_operation_back(saga in any_saga(), key in any_key()) {
            prop_assert_eq!(tokens(1).read(&tokens(1).make(saga, key)), Ok((saga, key)));
        }

        #[test]
        fn a_token_of_another_key_is_refused(saga in any_saga(), key in any_key()) {
            prop_assert_eq!(tokens(1).read(&tokens(2).make(saga, key)), Err(Invalid));
        }

        #[test]
        fn a_token_with_any_character_changed_is_refused(
            saga in any_saga(), key in any_key(), at in 0..TEXT_CHARS, to in prop::sample::select(ALPHABET.to_vec()),
        ) {
            let token = tokens(1).make(saga, key);
            let mut bytes = token.clone().into_bytes();
            bytes[at] = to;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assume!(changed != token);
            prop_assert_eq!(tokens(1).read(&changed), Err(Invalid));
        }

        #[test]
        fn a_token_cut_or_continued_is_refused(saga in any_saga(), key in any_key(), end in 0..TEXT_CHARS, more in "\\PC{1,8}") {
            let token = tokens(1).make(saga, key);
            prop_assert_eq!(tokens(1).read(&token[..end]), Err(Invalid));
            prop_assert_eq!(tokens(1).read(&format!("{token}{more}")), Err(Invalid));
            prop_assert_eq!(tokens(1).read(&format!("{token}=")), Err(Invalid));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,90}") {
            prop_assert_eq!(tokens(1).read(&text), Err(Invalid));
        }

        #[test]
        fn made_up_tokens_are_refused(text in "[A-Za-z0-9_-]{76}") {
            prop_assert_eq!(tokens(1).read(&text), Err(Invalid));
        }

        #[test]
        fn the_proof_of_one_operation_does_not_serve_another(saga in any_saga(), a in any_key(), b in any_key()) {
            prop_assume!(a != b);
            let (first, second) = (tokens(1).make(saga, a), tokens(1).make(saga, b));
            let mut spliced = decode(&first).unwrap();
            spliced[BODY_BYTES..].copy_from_slice(&decode(&second).unwrap()[BODY_BYTES..]);
            prop_assert_eq!(tokens(1).read(&encode(&spliced)), Err(Invalid));
        }
    }
}
