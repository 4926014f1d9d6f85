//! Pages of the ledger.

use ids::{EntryId, UserId};

use crate::error::Error;

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;

/// A page of the ledger: its size, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) size: u32,
    /// Entries older than this one.
    pub(crate) before: Option<EntryId>,
}

impl Page {
    /// Reads a page of a user's ledger. A size above the limit is cut to it (AIP-158).
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
}

/// Returns the token of the page that follows `last`: both ids in hex. It is bound to the user.
pub(crate) fn page_token(user_id: UserId, last: EntryId) -> String {
    format!("{}{}", user_id.uuid().simple(), last.uuid().simple())
}

fn parse_token(user_id: UserId, token: &str) -> Option<EntryId> {
    let rest = token.strip_prefix(&user_id.uuid().simple().to_string())?;
    let entry_id = EntryId::from_uuid(uuid::Uuid::try_parse(rest).ok()?);
    (page_token(user_id, entry_id) == token).then_some(entry_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_user() {
        let (user, other, entry) = (UserId::new(), UserId::new(), EntryId::new());
        let token = page_token(user, entry);
        assert_eq!(
            Page::new(user, 0, &token).unwrap(),
            Page {
                size: 50,
                before: Some(entry)
            }
        );
        assert_eq!(
            Page::new(user, 9_999, "").unwrap(),
            Page {
                size: 500,
                before: None
            }
        );
        assert!(matches!(Page::new(other, 0, &token), Err(Error::PageToken)));
        assert!(matches!(
            Page::new(user, 0, &token.to_uppercase()),
            Err(Error::PageToken)
        ));
    }

    proptest! {
        #[test]
        fn no_token_makes_the_parser_panic(bits: u128, tail in ".{0,40}") {
            let user = UserId::from_uuid(uuid::Uuid::from_u128(bits));
            let token = format!("{}{tail}", user.uuid().simple());
            if let Ok(Page { before: Some(entry), .. }) = Page::new(user, 1, &token) {
                prop_assert_eq!(page_token(user, entry), token);
            }
        }
    }
}
