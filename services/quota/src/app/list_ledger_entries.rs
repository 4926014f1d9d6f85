use ids::{EntryId, UserId};
use process::PoolGauge;

use crate::domain::{Entry, Page};
use crate::error::Error;
use crate::store;

/// Returns a page of a user's movements, newest first, and the token of the next page if there is one. An unknown
/// user has none.
pub(crate) async fn list_ledger_entries(
    pool: &PoolGauge,
    user_id: UserId,
    page: Page<EntryId>,
) -> Result<(Vec<Entry>, Option<String>), Error> {
    let mut entries = store::ledger::list(pool, user_id, page.before, page.limit()).await?;
    let next = page.cut(user_id, &mut entries, |entry| entry.entry_id);
    Ok((entries, next))
}
