//! Pages of the list of users.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::UserId;
use uuid::Uuid;

use super::{Role, State};
use crate::error::Error;

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;
const ID_BYTES: usize = 16;
/// Enough of a digest to notice another filter; a forged token shows an administrator nothing new.
const TAG_BYTES: usize = 8;

/// Which users are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) phone_blind: Option<Vec<u8>>,
    pub(crate) role: Option<Role>,
    pub(crate) state: Option<State>,
}

impl Filter {
    fn tag(&self) -> [u8; TAG_BYTES] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(self.role.map_or("", Role::name).as_bytes());
        hash.update(b"/");
        hash.update(self.state.map_or("", State::name).as_bytes());
        hash.update(b"/");
        hash.update(self.phone_blind.as_deref().unwrap_or_default());
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hash.finish().as_ref()[..TAG_BYTES]);
        tag
    }
}

/// A page: its size, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) size: u32,
    /// Users older than this one.
    pub(crate) before: Option<UserId>,
}

impl Page {
    /// Reads a page of what the filter selects. A size above the limit is cut to it (AIP-158).
    pub(crate) fn new(filter: &Filter, size: u32, token: &str) -> Result<Self, Error> {
        let size = match size {
            0 => DEFAULT_PAGE,
            1..=MAX_PAGE => size,
            _ => MAX_PAGE,
        };
        let before = if token.is_empty() {
            None
        } else {
            Some(parse_token(filter, token).ok_or(Error::PageToken)?)
        };
        Ok(Self { size, before })
    }
}

/// Returns the token of the page that follows `last`. It is bound to the filter.
pub(crate) fn page_token(filter: &Filter, last: UserId) -> String {
    let bytes = [last.uuid().as_bytes().as_slice(), &filter.tag()].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parse_token(filter: &Filter, token: &str) -> Option<UserId> {
    if token.len() != (ID_BYTES + TAG_BYTES) / 3 * 4 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, tag) = bytes.split_at_checked(ID_BYTES)?;
    (tag == filter.tag()).then_some(UserId::from_uuid(Uuid::from_slice(id).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_filter() {
        let admins = Filter {
            role: Some(Role::Admin),
            ..Filter::default()
        };
        let last = UserId::new();
        let token = page_token(&admins, last);
        let page = Page::new(&admins, 0, &token).unwrap();
        assert_eq!((page.size, page.before), (50, Some(last)));
        assert_eq!(Page::new(&admins, 9_999, "").unwrap().size, 500);
        for other in [
            Filter::default(),
            Filter {
                state: Some(State::Banned),
                ..admins
            },
        ] {
            assert!(matches!(Page::new(&other, 0, &token), Err(Error::PageToken)));
        }
    }

    proptest! {
        #[test]
        fn no_token_makes_the_parser_panic(token in ".{0,40}") {
            let filter = Filter::default();
            if let Ok(Page { before: Some(last), .. }) = Page::new(&filter, 1, &token) {
                prop_assert_eq!(page_token(&filter, last), token);
            }
        }
    }
}
