//! Memberships: rights to a tier for a time, which orders open and extend.

mod open;
mod revoke;

use ids::UserId;

use super::App;
use crate::error::Error;
use crate::store::memberships::{self, Membership, Period};

pub(crate) use open::open;
pub(crate) use revoke::revoke;

/// Lists a user's memberships, each with its last periods, oldest first.
pub(crate) async fn list_memberships(
    app: &App,
    user_id: UserId,
) -> Result<Vec<(Membership, Vec<Period>)>, Error> {
    let all = memberships::list(&app.pool, user_id).await?;
    let mut periods = memberships::periods(&app.pool, user_id).await?;
    let with_periods = all.into_iter().map(|membership| {
        let (own, rest) = std::mem::take(&mut periods)
            .into_iter()
            .partition(|period| period.tier == membership.tier);
        periods = rest;
        (membership, own)
    });
    Ok(with_periods.collect())
}
