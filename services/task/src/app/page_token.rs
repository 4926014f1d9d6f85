//! Tokens that continue a list: where the page before ended, tied to what was listed.
//!
//! Hex of: version 1 (1 byte), microseconds since 1970 (8), id (16), check (4). The check is a digest over the rest and
//! the list's filter, so that a token of another list is noticed. It keeps no secret.

use chrono::DateTime;
use ids::UserId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::tasks::After;

const VERSION: u8 = 1;
const PLACE_BYTES: usize = 1 + 8 + 16;
const CHECK_BYTES: usize = 4;

/// Writes a token. `filter` tells the list from others of the user.
pub(crate) fn write(after: After, user_id: UserId, filter: &str) -> String {
    let mut place = Vec::with_capacity(PLACE_BYTES + CHECK_BYTES);
    place.push(VERSION);
    place.extend(after.created_at.timestamp_micros().to_be_bytes());
    place.extend(after.id.as_bytes());
    let check = check(&place, user_id, filter);
    place.extend(check);
    place.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a token; `None` if it was not written for this list.
pub(crate) fn read(token: &str, user_id: UserId, filter: &str) -> Option<After> {
    let bytes = from_hex(token)?;
    let (place, found) = bytes.split_at_checked(PLACE_BYTES)?;
    if found != check(place, user_id, filter) {
        return None;
    }
    let (version, rest) = place.split_first()?;
    let (micros, id) = rest.split_at_checked(8)?;
    if *version != VERSION {
        return None;
    }
    Some(After {
        created_at: DateTime::from_timestamp_micros(i64::from_be_bytes(micros.try_into().ok()?))?,
        id: Uuid::from_slice(id).ok()?,
    })
}

fn check(place: &[u8], user_id: UserId, filter: &str) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new()
        .chain_update(place)
        .chain_update(user_id.uuid().as_bytes())
        .chain_update(filter)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != (PLACE_BYTES + CHECK_BYTES) * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> After {
        After {
            created_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap(),
            id: Uuid::from_u128(7),
        }
    }

    #[test]
    fn a_token_reads_back() {
        let user = UserId::new();
        let token = write(place(), user, "failed,pending");
        assert_eq!(read(&token, user, "failed,pending"), Some(place()));
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let user = UserId::new();
        let token = write(place(), user, "");
        assert_eq!(read(&token, UserId::new(), ""), None);
        assert_eq!(read(&token, user, "failed"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}", hex in "[0-9a-f]{58}") {
            prop_assert_eq!(read(&text, UserId::new(), ""), None);
            let _ = read(&hex, UserId::new(), "");
        }
    }
}
