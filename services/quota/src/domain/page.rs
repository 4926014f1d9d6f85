//! Pages of the lists of a user, newest first.

use ids::{EntryId, UserId};
use uuid::Uuid;

use crate::error::Error;

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;

/// Where something stands in a list, as 32 hex digits in a page token.
pub(crate) trait Cursor: Copy {
    /// Keeps the tokens of the lists apart.
    const LIST: char;

    fn bits(self) -> u128;
    /// `None` if nothing stands there.
    fn from_bits(bits: u128) -> Option<Self>;
}

/// An entry of the ledger.
impl Cursor for EntryId {
    const LIST: char = 'e';

    fn bits(self) -> u128 {
        self.uuid().as_u128()
    }

    fn from_bits(bits: u128) -> Option<Self> {
        Some(Self::from_uuid(Uuid::from_u128(bits)))
    }
}

/// The `seq` of a grant.
impl Cursor for i64 {
    const LIST: char = 'g';

    fn bits(self) -> u128 {
        u128::from(self.cast_unsigned())
    }

    fn from_bits(bits: u128) -> Option<Self> {
        Self::try_from(bits).ok()
    }
}

/// A page of a list: its size, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page<C> {
    pub(crate) size: u32,
    /// What is older than this one.
    pub(crate) before: Option<C>,
}

impl<C: Cursor> Page<C> {
    /// Reads a page of a user's list. A size above the limit is cut to it (AIP-158).
    pub(crate) fn new(user_id: UserId, size: u32, token: &str) -> Result<Self, Error> {
        let size = match size {
            0 => DEFAULT_PAGE,
            1..=MAX_PAGE => size,
            _ => MAX_PAGE,
        };
        let before = if token.is_empty() {
            None
        } else {
            Some(parse_token(user_id, token).ok_or(Error::PageToken)?)
        };
        Ok(Self { size, before })
    }

    /// Returns how many rows to read: one more than asked for tells whether there is a next page.
    pub(crate) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Cuts what was read to the page; returns the token of the next one if there is one.
    pub(crate) fn cut<T>(&self, user_id: UserId, rows: &mut Vec<T>, at: impl Fn(&T) -> C) -> Option<String> {
        if rows.len() as u64 <= u64::from(self.size) {
            return None;
        }
        rows.pop();
        rows.last().map(|last| page_token(user_id, at(last)))
    }
}

/// Returns the token of the page that follows `last`: list, user and place. It is bound to the user.
fn page_token<C: Cursor>(user_id: UserId, last: C) -> String {
    format!("{}{}{:032x}", C::LIST, user_id.uuid().simple(), last.bits())
}

fn parse_token<C: Cursor>(user_id: UserId, token: &str) -> Option<C> {
    let rest = token
        .strip_prefix(C::LIST)?
        .strip_prefix(&user_id.uuid().simple().to_string())?;
    let found = C::from_bits(u128::from_str_radix(rest, 16).ok()?)?;
    (page_token(user_id, found) == token).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_user_and_list() {
        let (user, other, entry) = (UserId::new(), UserId::new(), EntryId::new());
        let token = page_token(user, entry);
        let page = Page::<EntryId>::new(user, 0, &token).unwrap();
        assert_eq!((page.size, page.before), (50, Some(entry)));
        let page = Page::<EntryId>::new(user, 9_999, "").unwrap();
        assert_eq!((page.size, page.before), (500, None));
        for (who, token) in [
            (other, token.clone()),
            (user, token.to_uppercase()),
            (user, page_token(user, 7_i64)),
        ] {
            let found = Page::<EntryId>::new(who, 0, &token);
            assert!(matches!(found, Err(Error::PageToken)), "{token}");
        }
        assert!(matches!(Page::<i64>::new(user, 0, &token), Err(Error::PageToken)));
        let grants = Page::<i64>::new(user, 1, &page_token(user, 7_i64)).unwrap();
        assert_eq!(grants.before, Some(7));
    }

    #[test]
    fn a_page_is_cut_where_the_next_one_begins() {
        let user = UserId::new();
        let page = Page::<i64>::new(user, 2, "").unwrap();
        let mut rows = vec![9_i64, 8, 7];
        let token = page.cut(user, &mut rows, |seq| *seq).unwrap();
        assert_eq!(rows, [9, 8]);
        assert_eq!(Page::<i64>::new(user, 2, &token).unwrap().before, Some(8));
        let mut last = vec![7_i64];
        assert_eq!(page.cut(user, &mut last, |seq| *seq), None);
        assert_eq!(last, [7]);
    }

    proptest! {
        #[test]
        fn no_token_makes_the_parser_panic(bits: u128, list in "[eg]?", tail in ".{0,40}|[0-9a-f]{32}") {
            let user = UserId::from_uuid(Uuid::from_u128(bits));
            let token = format!("{list}{}{tail}", user.uuid().simple());
            if let Ok(Page { before: Some(entry), .. }) = Page::<EntryId>::new(user, 1, &token) {
                prop_assert_eq!(page_token(user, entry), token.clone());
            }
            if let Ok(Page { before: Some(seq), .. }) = Page::<i64>::new(user, 1, &token) {
                prop_assert_eq!(page_token(user, seq), token);
            }
        }
    }
}
