//! Pages of lists, newest first: UUIDv7s sort by their age.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::Error;

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;

/// A page of a list: its size, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    size: u32,
    /// What is older than this one.
    pub(crate) before: Option<Uuid>,
    list: String,
}

impl Page {
    /// Reads a page. `list` says which list it is of, whose, and with which filter: a token of another list is refused. A
    /// size above the limit is cut to it (AIP-158).
    pub(crate) fn new(list: String, size: u32, token: &str) -> Result<Self, Error> {
        let size = match size {
            0 => DEFAULT_PAGE,
            1..=MAX_PAGE => size,
            _ => MAX_PAGE,
        };
        let before = if token.is_empty() {
            None
        } else {
            Some(read(&list, token).ok_or(Error::PageToken)?)
        };
        Ok(Self { size, before, list })
    }

    /// Returns how many rows to read: one more than asked for tells whether there is a next page.
    pub(crate) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Cuts what was read to the page; returns the token of the next one, empty if there is none.
    pub(crate) fn cut<T>(&self, rows: &mut Vec<T>, at: impl Fn(&T) -> Uuid) -> String {
        if rows.len() as u64 <= u64::from(self.size) {
            return String::new();
        }
        rows.pop();
        rows.last()
            .map(|last| write(&self.list, at(last)))
            .unwrap_or_default()
    }
}

/// The token: the id, and a mark of the list. It keeps no secret.
fn write(list: &str, id: Uuid) -> String {
    let mark = Sha256::new()
        .chain_update(id.as_bytes())
        .chain_update(list)
        .finalize();
    format!(
        "{}{:08x}",
        id.simple(),
        u32::from_be_bytes([mark[0], mark[1], mark[2], mark[3]])
    )
}

fn read(list: &str, token: &str) -> Option<Uuid> {
    let (id, _) = token.split_at_checked(32)?;
    let id = Uuid::try_parse(id).ok()?;
    (write(list, id) == token).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_list() {
        let (list, id) = ("orders of a".to_owned(), Uuid::now_v7());
        let page = Page::new(list.clone(), 1, "").unwrap();
        let mut rows = vec![id, Uuid::nil()];
        let token = page.cut(&mut rows, |id| *id);
        assert_eq!(rows, [id]);
        assert_eq!(Page::new(list.clone(), 9_999, &token).unwrap().before, Some(id));
        for (list, token) in [
            ("orders of b".to_owned(), token.clone()),
            (list, token.to_uppercase()),
        ] {
            assert!(matches!(Page::new(list, 0, &token), Err(Error::PageToken)));
        }
    }

    proptest! {
        #[test]
        fn no_token_makes_the_parser_panic(token in ".{0,60}|[0-9a-f]{40}") {
            if let Ok(Page { before: Some(id), list, .. }) = Page::new("l".to_owned(), 1, &token) {
                prop_assert_eq!(write(&list, id), token);
            }
        }
    }
}
