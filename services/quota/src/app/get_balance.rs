use ids::UserId;
use sqlx::PgPool;

use crate::domain::Balance;
use crate::error::Error;
use crate::store;

/// Returns what a user has.
pub(crate) async fn get_balance(pool: &PgPool, user_id: UserId) -> Result<Balance, Error> {
    store::account::find(pool, user_id).await?.ok_or(Error::NoAccount)
}
