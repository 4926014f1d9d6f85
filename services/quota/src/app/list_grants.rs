use ids::UserId;
use process::PoolGauge;

use crate::domain::{Page, StoredGrant};
use crate::error::Error;
use crate::store;

/// Returns a page of a user's grants, newest first, and the token of the next page if there is one. An unknown user has
/// none.
pub(crate) async fn list_grants(
    pool: &PoolGauge,
    user_id: UserId,
    page: Page<i64>,
) -> Result<(Vec<StoredGrant>, Option<String>), Error> {
    let mut grants = store::grant::list(pool, user_id, page.before, page.limit()).await?;
    let next = page.cut(user_id, &mut grants, |grant| grant.seq);
    Ok((grants, next))
}
