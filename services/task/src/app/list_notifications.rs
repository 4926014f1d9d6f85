//! ListNotifications: keyset pages, newest first.

use ids::UserId;

use super::list_tasks::page_size;
use super::{App, Error, page_token};
use crate::store::notifications::{self, Notification};
use crate::store::tasks::After;

/// A valid request for a page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    user_id: UserId,
    unread_only: bool,
    after: Option<After>,
    size: u32,
}

impl Page {
    /// Checks a request.
    pub(crate) fn parse(user_id: UserId, size: u32, token: &str, unread_only: bool) -> Result<Self, Error> {
        let after = match token {
            "" => None,
            token => Some(page_token::read(token, user_id, filter(unread_only)).ok_or(Error::PageToken)?),
        };
        Ok(Self {
            user_id,
            unread_only,
            after,
            size: page_size(size)?,
        })
    }
}

/// What a token is tied to. No state of a task is named so.
const fn filter(unread_only: bool) -> &'static str {
    if unread_only {
        "unread notifications"
    } else {
        "notifications"
    }
}

/// A page, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) notifications: Vec<Notification>,
    /// Empty after the last page.
    pub(crate) next_page_token: String,
    pub(crate) unread: i64,
}

/// Lists a page.
pub(crate) async fn list_notifications(app: &App, page: &Page) -> Result<Listed, Error> {
    // One more than asked for tells whether there is a next page.
    let limit = i64::from(page.size) + 1;
    let mut found = notifications::list(&app.pool, page.user_id, page.unread_only, page.after, limit).await?;
    let unread = notifications::unread(&app.pool, page.user_id).await?;
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more).map(|last| After {
        created_at: last.created_at,
        id: last.id.uuid(),
    });
    let token = last.map(|after| page_token::write(after, page.user_id, filter(page.unread_only)));
    Ok(Listed {
        notifications: found,
        next_page_token: token.unwrap_or_default(),
        unread,
    })
}
