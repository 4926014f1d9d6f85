//! What is authenticated with a field, beside its content.
//!
//! Two seals, two contexts. The content's names the place. The wrapping's names the place and the key as well, so that the
//! key can be changed without touching the content, and an envelope still cannot claim another key than the one that
//! wrapped it.

use aws_lc_rs::digest::{SHA256, digest};

use crate::envelope::FORMAT;
use crate::error::Error;
use crate::key_id::KeyId;

/// Longest name of a table or column, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Longest key of a row, in bytes.
const MAX_ROW_BYTES: usize = 1_024;

/// Where a sealed field is. None of the parts may be empty; names have up to 200 bytes, the row's key up to 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table with its schema, as in SQL.
    pub table: &'a str,
    /// Column.
    pub column: &'a str,
    /// Primary key of the row, as text.
    pub row: &'a str,
}

impl Place<'_> {
    /// Refuses what no row has.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let names = [self.table, self.column]
            .iter()
            .all(|name| (1..=MAX_NAME_BYTES).contains(&name.len()));
        if names && (1..=MAX_ROW_BYTES).contains(&self.row.len()) {
            Ok(())
        } else {
            Err(Error::Place)
        }
    }

    /// What is authenticated with the content.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.end(start("evenkeel.kms.content"))
    }

    /// What is authenticated with the wrapped data key.
    pub(crate) fn wrapping(&self, key: &KeyId) -> Vec<u8> {
        let mut bytes = start("evenkeel.kms.key");
        bytes.push(key.kind.tag());
        push(&mut bytes, key.name.as_bytes());
        bytes.extend(key.version.to_be_bytes());
        self.end(bytes)
    }

    fn end(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for part in [self.table, self.column, self.row] {
            push(&mut bytes, part.as_bytes());
        }
        bytes
    }
}

fn start(purpose: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, purpose.as_bytes());
    bytes.push(FORMAT);
    bytes
}

/// Each part with its length, so that no two places read alike.
fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u64).to_be_bytes());
    bytes.extend(part);
}

/// Names a wrapped key together with everything that it is bound to.
pub(crate) fn fingerprint(wrapping: &[u8], wrapped: &[u8]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(wrapping.len() + wrapped.len() + 16);
    push(&mut bytes, wrapping);
    push(&mut bytes, wrapped);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_id::Kind;

    const HERE: Place<'_> = Place {
        table: "task.provider",
        column: "api_key",
        row: "1",
    };

    #[test]
    fn parts_that_are_cut_elsewhere_read_differently() {
        let moved = Place {
            table: "task.providera",
            column: "pi_key",
            row: "1",
        };
        assert_ne!(HERE.content(), moved.content());
        let key = |name: &str, version| KeyId {
            kind: Kind::Local,
            name: name.to_owned(),
            version,
        };
        assert_ne!(HERE.wrapping(&key("a", 1)), HERE.wrapping(&key("a", 2)));
        assert_ne!(HERE.wrapping(&key("a", 1)), HERE.wrapping(&key("b", 1)));
        assert_ne!(HERE.wrapping(&key("a", 1)), HERE.content());
        assert_ne!(fingerprint(b"ab", b"c"), fingerprint(b"a", b"bc"));
    }

    #[test]
    fn a_place_without_a_part_or_with_an_endless_one_is_none() {
        assert!(HERE.check().is_ok());
        let long = "x".repeat(1_025);
        for wrong in [
            Place { table: "", ..HERE },
            Place { column: "", ..HERE },
            Place { row: "", ..HERE },
            Place {
                table: &long[..201],
                ..HERE
            },
            Place { row: &long, ..HERE },
        ] {
            assert!(matches!(wrong.check(), Err(Error::Place)), "{wrong:?}");
        }
    }
}
