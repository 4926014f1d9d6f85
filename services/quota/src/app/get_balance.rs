use ids::UserId;
use process::PoolGauge;

use crate::domain::Balance;
use crate::error::Error;
use crate::store;

/// Returns what a user has.
pub(crate) async fn get_balance(pool: &PoolGauge, user_id: UserId) -> Result<Balance, Error> {
    store::account::find(pool, user_id).await?.ok_or(Error::NoAccount)
}
