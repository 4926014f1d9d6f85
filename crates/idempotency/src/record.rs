//! What the store holds under a key, and what it means for a request.
//!
//! | bytes | a lease | a finished request |
//! |---|---|---|
//! | 1 | `L` | `D` |
//! | 32 | fingerprint | fingerprint |
//! | 16 | token | |
//! | 2 | | length of the head, big-endian |
//! | rest | | head as JSON, then the body |

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::answer::{Answer, Head};
use crate::{Fingerprint, MAX_RECORD_BYTES};

const LEASE: u8 = b'L';
const DONE: u8 = b'D';

/// A record of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A request is running.
    Lease { fingerprint: Fingerprint },
    /// A request has ended.
    Done {
        fingerprint: Fingerprint,
        answer: Answer,
    },
}

/// What a record means for a request with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same request is running.
    InFlight,
    /// The same request has ended.
    Replay(Answer),
    /// Another request has the key.
    Mismatch,
}

/// Decides about a request with this fingerprint.
pub(crate) fn decide(found: Record, fingerprint: &Fingerprint) -> Verdict {
    match found {
        Record::Lease { fingerprint: held } if held == *fingerprint => Verdict::InFlight,
        Record::Done {
            fingerprint: held,
            answer,
        } if held == *fingerprint => Verdict::Replay(answer),
        Record::Lease { .. } | Record::Done { .. } => Verdict::Mismatch,
    }
}

pub(crate) fn lease(fingerprint: &Fingerprint, token: Uuid) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + Fingerprint::BYTES + 16);
    bytes.put_u8(LEASE);
    bytes.put_slice(fingerprint.bytes());
    bytes.put_slice(token.as_bytes());
    bytes.freeze()
}

/// Writes a finished request, `None` if the record would be larger than [`MAX_RECORD_BYTES`].
pub(crate) fn done(fingerprint: &Fingerprint, answer: &Answer) -> Option<Bytes> {
    let head = serde_json::to_vec(&answer.head).ok()?;
    let length = u16::try_from(head.len()).ok()?;
    let size = 1 + Fingerprint::BYTES + 2 + head.len() + answer.body.len();
    if size > MAX_RECORD_BYTES {
        return None;
    }
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u8(DONE);
    bytes.put_slice(fingerprint.bytes());
    bytes.put_u16(length);
    bytes.put_slice(&head);
    bytes.put_slice(&answer.body);
    Some(bytes.freeze())
}

/// Reads a record, `None` if it is none of ours.
pub(crate) fn parse(record: &Bytes) -> Option<Record> {
    let (kind, rest) = record.split_first()?;
    let (fingerprint, rest) = rest.split_first_chunk::<{ Fingerprint::BYTES }>()?;
    let fingerprint = Fingerprint::from_bytes(*fingerprint);
    match *kind {
        LEASE if rest.len() == 16 => Some(Record::Lease { fingerprint }),
        DONE => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let head: Head = serde_json::from_slice(rest.get(..length)?).ok()?;
            let body = record.slice_ref(rest.get(length..)?);
            let answer = Answer { head, body };
            Some(Record::Done { fingerprint, answer })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(body: Vec<u8>) -> Answer {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answer::new(201, headers, body)
    }

    #[test]
    fn only_the_same_request_is_told_what_became_of_it() {
        let (mine, other) = (Fingerprint::of(&[b"a"]), Fingerprint::of(&[b"b"]));
        let running = Record::Lease { fingerprint: mine };
        let done = Record::Done {
            fingerprint: mine,
            answer: answer(vec![]),
        };
        assert_eq!(decide(running.clone(), &mine), Verdict::InFlight);
        assert_eq!(decide(done.clone(), &mine), Verdict::Replay(answer(vec![])));
        assert_eq!(decide(running, &other), Verdict::Mismatch);
        assert_eq!(decide(done, &other), Verdict::Mismatch);
    }

    #[test]
    fn a_record_is_never_larger_than_its_bound() {
        let fingerprint = Fingerprint::of(&[]);
        let empty = done(&fingerprint, &answer(vec![])).unwrap().len();
        let room = MAX_RECORD_BYTES - empty;
        let full = done(&fingerprint, &answer(vec![b'x'; room])).unwrap();
        assert_eq!(full.len(), MAX_RECORD_BYTES);
        assert_eq!(done(&fingerprint, &answer(vec![b'x'; room + 1])), None);
    }

    #[test]
    fn every_lease_is_different() {
        let fingerprint = Fingerprint::of(&[]);
        assert_ne!(
            lease(&fingerprint, Uuid::new_v4()),
            lease(&fingerprint, Uuid::new_v4())
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            body in prop::collection::vec(any::<u8>(), 0..1000),
            status: u16,
            headers in prop::collection::vec((".{0,20}", ".{0,20}"), 0..5),
        ) {
            let fingerprint = Fingerprint::of(&[b"a"]);
            let answer = Answer::new(status, headers, body);
            let record = done(&fingerprint, &answer).unwrap();
            prop_assert_eq!(parse(&record), Some(Record::Done { fingerprint, answer }));
            let lease = lease(&fingerprint, Uuid::from_u128(7));
            prop_assert_eq!(parse(&lease), Some(Record::Lease { fingerprint }));
        }

        #[test]
        fn what_others_wrote_never_panics(record in prop::collection::vec(any::<u8>(), 0..80), kind in "[LDX]") {
            let mut bytes = kind.into_bytes();
            bytes.extend(record);
            let _ = parse(&Bytes::from(bytes));
        }
    }
}
