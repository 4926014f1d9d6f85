//! Values that only a newer version replaces, for caches.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Error, Key};

/// Digits of a rank: as many as the largest `u64` has.
const RANK_BYTES: usize = 20;
const VALUE: u8 = b'+';
const TOMBSTONE: u8 = b'-';

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Version that was put.
    pub version: i64,
    /// `None`: what was there is known to be out of date, and nobody has read the new value yet.
    pub value: Option<Bytes>,
}

/// Writes a version so that texts are ordered as versions are. Scripts compare texts: their numbers have 53 bits.
pub(crate) fn rank(version: i64) -> String {
    let shifted = version.cast_unsigned() ^ (1 << 63);
    format!("{shifted:0width$}", width = RANK_BYTES)
}

/// Writes what Redis keeps: rank, a mark, the value.
pub(crate) fn encode(version: i64, value: Option<&[u8]>) -> Bytes {
    let value_bytes = value.map_or(0, <[u8]>::len);
    let mut record = BytesMut::with_capacity(RANK_BYTES + 1 + value_bytes);
    record.put_slice(rank(version).as_bytes());
    record.put_u8(if value.is_some() { VALUE } else { TOMBSTONE });
    record.put_slice(value.unwrap_or_default());
    record.freeze()
}

/// Reads what Redis keeps.
pub(crate) fn decode(key: &Key, record: &Bytes) -> Result<Versioned, Error> {
    parse(record).ok_or(Error::Corrupt { family: key.family() })
}

fn parse(record: &Bytes) -> Option<Versioned> {
    let digits = record.get(..RANK_BYTES)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let shifted: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let value = match *record.get(RANK_BYTES)? {
        VALUE => Some(record.slice(RANK_BYTES + 1..)),
        TOMBSTONE if record.len() == RANK_BYTES + 1 => None,
        _ => return None,
    };
    Some(Versioned {
        version: (shifted ^ (1 << 63)).cast_signed(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_are_ordered_as_versions(one: i64, other: i64) {
            prop_assert_eq!(rank(one).cmp(&rank(other)), one.cmp(&other));
            prop_assert_eq!(rank(one).len(), RANK_BYTES);
        }

        #[test]
        fn what_is_written_is_read(version: i64, value in prop::option::of(prop::collection::vec(any::<u8>(), 0..50))) {
            let read = parse(&encode(version, value.as_deref())).unwrap();
            prop_assert_eq!(read, Versioned { version, value: value.map(Bytes::from) });
        }

        #[test]
        fn what_others_wrote_never_panics(record in prop::collection::vec(any::<u8>(), 0..40)) {
            let record = Bytes::from(record);
            if let Some(read) = parse(&record) {
                prop_assert_eq!(encode(read.version, read.value.as_deref()), record);
            }
        }
    }
}
