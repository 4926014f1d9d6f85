use ids::UserId;
use process::PoolGauge;

use crate::domain::{self, Entry, Page};
use crate::error::Error;
use crate::store;

/// Returns a page of a user's movements, newest first, and the token of the next page if there is one. An unknown
/// user has none.
pub(crate) async fn list_ledger_entries(
    pool: &PoolGauge,
    user_id: UserId,
    page: Page,
) -> Result<(Vec<Entry>, Option<String>), Error> {
    // One more than asked for tells whether there is a next page.
    let limit = i64::from(page.size) + 1;
    let mut entries = store::ledger::list(pool, user_id, page.before, limit).await?;
    let more = entries.len() as u64 > u64::from(page.size);
    if more {
        entries.pop();
    }
    let next = entries
        .last()
        .filter(|_| more)
        .map(|last| domain::page_token(user_id, last.entry_id));
    Ok((entries, next))
}
