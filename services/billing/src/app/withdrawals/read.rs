//! Shows withdrawals and commissions.

use ids::{UserId, WithdrawalId};

use super::super::App;
use crate::domain::Page;
use crate::error::Error;
use crate::store::commission::{self, Account, Entry};
use crate::store::withdrawals::{self, Withdrawal};

/// Finds a withdrawal; those of others are none for a caller who may see its own only.
pub(crate) async fn get(
    app: &App,
    id: WithdrawalId,
    visible_to: Option<UserId>,
) -> Result<Withdrawal, Error> {
    withdrawals::find(&app.pool, id)
        .await?
        .filter(|found| visible_to.is_none_or(|user_id| user_id == found.user_id))
        .ok_or(Error::NoWithdrawal)
}

/// Lists a user's withdrawals, with the token of the next page.
pub(crate) async fn list(
    app: &App,
    user_id: UserId,
    page: &Page,
) -> Result<(Vec<Withdrawal>, String), Error> {
    let mut rows = withdrawals::list(&app.pool, user_id, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id.uuid());
    Ok((rows, next))
}

/// Finds a user's commission: nothing, if it never earned any.
pub(crate) async fn get_commission(app: &App, user_id: UserId) -> Result<Account, Error> {
    let nothing = Account {
        earned: 0,
        available: 0,
        frozen: 0,
        withdrawn: 0,
    };
    Ok(commission::find(&app.pool, user_id).await?.unwrap_or(nothing))
}

/// Lists the movements of a user's commission, with the token of the next page.
pub(crate) async fn list_entries(
    app: &App,
    user_id: UserId,
    page: &Page,
) -> Result<(Vec<Entry>, String), Error> {
    let mut rows = commission::list(&app.pool, user_id, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id.uuid());
    Ok((rows, next))
}
